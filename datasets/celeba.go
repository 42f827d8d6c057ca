package datasets

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// CelebA as it is given out (Z. Liu, P. Luo, X. Wang and X. Tang, "Deep learning
// face attributes in the wild", 2015): a folder of aligned 178×218 JPEGs, and
// beside it a table of 40 attributes, each −1 or 1, in the original's words or as
// Kaggle's CSV.
const celebaImages = "img_align_celeba"

var celebaTables = []string{"list_attr_celeba.txt", "list_attr_celeba.csv"}

// indexCelebA indexes all images in the folder; the attribute that want.label names
// is the label, 0 or 1.
func indexCelebA(path string, want fields) (*folderShard, error) {
	inside := filepath.Join(path, celebaImages)
	if nested := filepath.Join(inside, celebaImages); isFolder(nested) { // as Kaggle packs it
		inside = nested
	}
	f, err := indexFolder(inside, want)
	if err != nil || want.label == "" {
		return f, err
	}
	for _, name := range celebaTables {
		table := filepath.Join(path, name)
		if _, err := os.Stat(table); err != nil {
			continue
		}
		if f.labels, err = celebaLabels(table, want.label, f.files); err != nil {
			return nil, fmt.Errorf("%s: %w", table, err)
		}
		f.classes = []string{"not " + want.label, want.label}
		return f, nil
	}
	return nil, fmt.Errorf("%s: the label is attribute %q, but there is no %s", path, want.label, strings.Join(celebaTables, " or "))
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// celebaLabels reads one attribute of each file.
func celebaLabels(path, attribute string, files []string) ([]int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	split := func(line string) []string {
		return strings.FieldsFunc(line, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\r' })
	}
	labels := make([]int64, len(files))
	for i := range labels {
		labels[i] = -1
	}
	lines := bufio.NewScanner(file)
	column, columns, n := -1, 0, 0
	for lines.Scan() {
		n++
		cells := split(lines.Text())
		switch {
		case len(cells) == 0, n == 1 && len(cells) == 1: // the number of images stands alone
			continue
		case columns == 0:
			if cells[0] != "image_id" { // the original names no column for the file
				cells = append([]string{"image_id"}, cells...)
			}
			if column, columns = slices.Index(cells, attribute), len(cells); column < 1 {
				return nil, fmt.Errorf("no attribute %q; there are %s", attribute, strings.Join(cells[1:], ", "))
			}
			continue
		case len(cells) != columns:
			return nil, fmt.Errorf("line %d: %d columns, want %d", n, len(cells), columns)
		}
		i, known := slices.BinarySearch(files, cells[0])
		if !known {
			continue // a part of the images is a data set too
		}
		switch cells[column] {
		case "1":
			labels[i] = 1
		case "-1", "0":
			labels[i] = 0
		default:
			return nil, fmt.Errorf("line %d: attribute %s is %q, want -1 or 1", n, attribute, cells[column])
		}
	}
	return labels, lines.Err()
}
