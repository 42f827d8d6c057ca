package datasets

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Columns of a table that hold what a record is made of, where no key is given:
// the first that is there. file_name is what Hugging Face's ImageFolder wants.
var (
	fileColumns    = []string{"file_name", "filename", "file", "image", "path"}
	labelColumns   = []string{"label"}
	captionColumns = []string{"caption", "text"}
)

// maxLine bounds a line of a table, in bytes.
const maxLine = 16 << 20

// tableRow is a line of a table: what stands in its columns.
type tableRow struct {
	line   int
	file   string
	label  string   // "": none
	texts  []string // captions
	faulty error    // why it cannot be used
}

// indexTable reads a .csv or .jsonl file that lists images: a file name relative
// to the table's folder, and a label, captions, or both. A line that names an image
// again adds a caption to it, be it the same one; without a caption it is a fault of the
// record, as a member that comes twice in a tar is. Labels are class numbers, or, where
// any is none, names that are numbered in their order.
func indexTable(table string, want fields) (*folderShard, error) {
	file, err := os.Open(table)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	read := readCSV
	if strings.EqualFold(filepath.Ext(table), ".jsonl") {
		read = readJSONL
	}
	rows, err := read(bufio.NewReaderSize(file, 1<<16), want)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", table, err)
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s: no line in it: want a file name and a label or a caption a line", table)
	}
	name := filepath.Base(table)
	if name == "metadata.csv" || name == "metadata.jsonl" { // the folder's own table: it is the folder that has a name
		absolute, err := filepath.Abs(filepath.Dir(table))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", table, err)
		}
		name = filepath.Base(absolute)
	}
	f := &folderShard{name: name, path: filepath.Dir(table), listed: true, faults: map[int]error{}}
	numbers, classes, err := tableLabels(rows)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", table, err)
	}
	f.classes = classes
	at, lines := map[string]int{}, []int{} // of each file: its record, and the line that named it first
	for n, r := range rows {
		if r.file != "" {
			r.file = path.Clean(r.file) // ./a.png is a.png
		}
		if r.faulty == nil && !filepath.IsLocal(filepath.FromSlash(r.file)) {
			r.faulty = fmt.Errorf("line %d: file name %q leads out of the table's folder", r.line, r.file)
		}
		i, again := at[r.file]
		if !again {
			i = len(f.files)
			at[r.file] = i
			f.files = append(f.files, r.file)
			f.labels = append(f.labels, numbers[n])
			f.texts = append(f.texts, nil)
			lines = append(lines, r.line)
		} else if f.labels[i] != numbers[n] {
			r.faulty = fmt.Errorf("line %d: %s has label %q here and another one in line %d", r.line, r.file, r.label, lines[i])
		} else if r.faulty == nil && len(r.texts) == 0 {
			r.faulty = fmt.Errorf("line %d: %s stands in line %d already, and this line adds no caption; remove one of them", r.line, r.file, lines[i])
		}
		f.texts[i] = append(f.texts[i], r.texts...)
		if r.faulty != nil {
			f.faults[i] = r.faulty
		}
	}
	if !want.texts {
		f.texts = nil // they only told what a second line is for
	}
	return f, nil
}

// tableLabels numbers the labels of the rows; −1, and "-1" in the table: none.
func tableLabels(rows []tableRow) (numbers []int64, classes []string, err error) {
	numbers = make([]int64, len(rows))
	number, name := "", ""
	for i, r := range rows {
		numbers[i] = -1
		if r.label == "" || r.label == "-1" {
			continue
		}
		if label, err := parseLabel(r.label); err == nil {
			numbers[i], number = label, r.label
		} else {
			classes, name = append(classes, r.label), r.label
		}
	}
	if number != "" && name != "" {
		return nil, nil, fmt.Errorf("label %q is a number and label %q is not: want class numbers or class names", number, name)
	}
	slices.Sort(classes)
	classes = slices.Compact(classes)
	for i, r := range rows {
		if at, ok := slices.BinarySearch(classes, r.label); ok {
			numbers[i] = int64(at)
		}
	}
	return numbers, classes, nil
}

// readCSV reads a table whose first line names the columns.
func readCSV(r io.Reader, want fields) ([]tableRow, error) {
	table := csv.NewReader(r)
	table.ReuseRecord = true
	head, err := table.Read()
	if err != nil {
		return nil, fmt.Errorf("line 1: the names of the columns: %w", err)
	}
	head = slices.Clone(head)
	head[0] = strings.TrimPrefix(head[0], "\ufeff")
	column := func(what, key string, usual []string, needed bool) (int, error) {
		if key != "" {
			usual, needed = []string{key}, true
		}
		for _, name := range usual {
			if i := slices.Index(head, name); i >= 0 {
				return i, nil
			}
		}
		if needed {
			return 0, fmt.Errorf("no column %s for the %s; the columns are %q", strings.Join(usual, " or "), what, head)
		}
		return -1, nil
	}
	file, err1 := column("file name", want.image, fileColumns, true)
	label, err2 := column("label", want.label, labelColumns, false)
	caption, err3 := column("caption", want.caption, captionColumns, want.texts)
	if err := cmp.Or(err1, err2, err3); err != nil {
		return nil, err
	}
	var rows []tableRow
	for {
		cells, err := table.Read()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return nil, err
		}
		line, _ := table.FieldPos(0)
		r := tableRow{line: line, file: strings.Clone(cells[file])}
		if label >= 0 {
			r.label = strings.TrimSpace(cells[label])
		}
		if caption >= 0 && cells[caption] != "" {
			r.texts = []string{strings.Clone(cells[caption])}
		}
		rows = append(rows, r)
	}
}

// readJSONL reads a table of one JSON object a line.
func readJSONL(r io.Reader, want fields) ([]tableRow, error) {
	keys := func(key string, usual []string) []string {
		if key != "" {
			return []string{key}
		}
		return usual
	}
	files, labels, captions := keys(want.image, fileColumns), keys(want.label, labelColumns), keys(want.caption, captionColumns)
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 1<<16), maxLine)
	var rows []tableRow
	n := 0
	for lines.Scan() {
		n++
		text := bytes.TrimSpace(lines.Bytes())
		if len(text) == 0 {
			continue
		}
		var object map[string]json.RawMessage
		if err := json.Unmarshal(text, &object); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		r := tableRow{line: n}
		first := func(keys []string) json.RawMessage {
			for _, key := range keys {
				if value, ok := object[key]; ok && string(value) != "null" {
					return value
				}
			}
			return nil
		}
		if json.Unmarshal(first(files), &r.file) != nil || r.file == "" {
			return nil, fmt.Errorf("line %d: no string under %s for the file name", n, strings.Join(files, " or "))
		}
		if value := first(labels); value != nil {
			if json.Unmarshal(value, &r.label) != nil {
				r.label = string(value)
			}
		}
		if r.texts, r.faulty = jsonTexts(first(captions)); !want.texts {
			r.faulty = nil
		}
		rows = append(rows, r)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("line %d: %w", n+1, err)
	}
	return rows, nil
}

// jsonField returns the value of a key of an object, nil where it has none. What does
// not mention the key is not parsed: tools write other things there, even NaN, which
// is no JSON.
func jsonField(data []byte, key string) (json.RawMessage, error) {
	if !bytes.Contains(data, []byte(strconv.Quote(key))) {
		return nil, nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		return nil, err
	}
	return object[key], nil
}

// jsonTexts reads a caption, or an array of them; none from null and from nothing.
func jsonTexts(value json.RawMessage) ([]string, error) {
	var one string
	if value == nil || json.Unmarshal(value, &one) == nil {
		if one == "" {
			return nil, nil
		}
		return []string{one}, nil
	}
	var many []string
	if json.Unmarshal(value, &many) != nil {
		return nil, errors.New("the caption is neither a string nor an array of strings")
	}
	return many, nil
}
