package datasets

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// parquetShard reads a parquet file of images as Hugging Face writes them: a column
// of images, whose bytes stand in it or in a group below it, a column of labels, a
// column of captions. A record's key is its row number. A row costs the reading of
// its page, of which those used last are kept: Hugging Face's image sets have
// some 100 rows a page.
type parquetShard struct {
	name, path string
	file       io.ReaderAt
	metadata   *format.FileMetaData
	groups     []parquet.RowGroup
	first      []int64                       // row that each row group starts with; and the end
	columns    [parquetRoles]*parquet.Column // nil: there is none
	classes    []string                      // as Hugging Face's metadata names them
	chunks     []parquetChunk                // of each row group and role
	cache      *pageCache
}

// What a column holds.
const (
	parquetImage = iota
	parquetLabel
	parquetText
	parquetRoles
)

// parquetChunk is a column's part in a row group: where its pages are, which the
// file may not say, so that their headers are read when the first is wanted.
type parquetChunk struct {
	once       sync.Once
	dictionary span // absent: none
	pages      []parquetPage
	err        error
}

type parquetPage struct {
	span             // of header and data
	first      int64 // value, in the row group, that it starts with
	dictionary bool  // its values are in the dictionary
}

// parquetRows are the rows of a page, or of a chunk whose column is repeated.
type parquetRows struct {
	first int64
	rows  [][]parquet.Value
}

// maxPage bounds a page, in bytes before and after unpacking.
const maxPage = 1 << 30

// indexParquet reads the footer of a parquet file of size bytes.
func indexParquet(path string, file io.ReaderAt, size int64, want fields) (*parquetShard, error) {
	var tail [8]byte // the footer's length, for which the library makes room unseen, and a mark
	if _, err := file.ReadAt(tail[:], max(size-8, 0)); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if length := int64(binary.LittleEndian.Uint32(tail[:])); string(tail[4:]) != "PAR1" || length > size-12 {
		return nil, fmt.Errorf("%s: no parquet file, or not all of one: its %d bytes end with % x; fetch the file again", path, size, tail)
	}
	var f *parquet.File
	err := survive(func() (err error) {
		f, err = parquet.OpenFile(file, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w; fetch the file again", path, err)
	}
	s := &parquetShard{name: filepath.Base(path), path: path, file: file, metadata: f.Metadata(), groups: f.RowGroups(), first: []int64{0}, cache: want.pages}
	for _, group := range s.metadata.RowGroups {
		if group.NumRows < 0 {
			return nil, fmt.Errorf("%s: a row group of %d rows; fetch the file again", path, group.NumRows)
		}
		s.first = append(s.first, s.first[len(s.first)-1]+group.NumRows)
	}
	s.chunks = make([]parquetChunk, len(s.metadata.RowGroups)*parquetRoles)
	hub, _ := f.Lookup("huggingface")
	if err := s.choose(f.Root(), hubFeatures(hub), want); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for g, group := range s.metadata.RowGroups {
		for _, column := range s.columns {
			if column != nil && column.Index() >= len(group.Columns) {
				return nil, fmt.Errorf("%s: row group %d has %d columns; fetch the file again", path, g, len(group.Columns))
			}
		}
	}
	return s, nil
}

// survive makes an error of a panic: the library indexes by numbers of the file that
// it has not checked, so that a damaged page may be one.
func survive(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("damaged: %v", p)
		}
	}()
	return do()
}

// choose finds the columns of images, labels and captions.
func (s *parquetShard) choose(root *parquet.Column, features map[string]hubFeature, want fields) error {
	var names []string
	for _, column := range root.Columns() {
		names = append(names, column.Name())
	}
	find := func(key, kind string, usual ...string) *parquet.Column {
		if key != "" {
			return root.Column(key)
		}
		for _, name := range usual {
			if column := root.Column(name); column != nil {
				return column
			}
		}
		var typed *parquet.Column
		for _, name := range names {
			if kind != "" && features[name].Type == kind {
				if typed != nil {
					return nil // two: the user has to say which
				}
				typed = root.Column(name)
			}
		}
		return typed
	}
	column := find(want.image, "Image", "image", "img", "jpg", "jpeg", "png", "webp")
	if column != nil && !column.Leaf() {
		column = column.Column("bytes")
	}
	if column == nil || !column.Leaf() || column.Type().Kind() != parquet.ByteArray || column.MaxRepetitionLevel() > 0 {
		return fmt.Errorf("no column %s with the bytes of images; the columns are %q (data.image_key)", cmp.Or(want.image, "image"), names)
	}
	s.columns[parquetImage] = column
	if column = find(want.label, "ClassLabel", "label"); column == nil && want.label != "" {
		return fmt.Errorf("no column %s for the label; the columns are %q", want.label, names)
	}
	if column != nil {
		if kind := column.Type(); !column.Leaf() || column.MaxRepetitionLevel() > 0 || kind.Kind() != parquet.Int32 && kind.Kind() != parquet.Int64 {
			if want.label != "" {
				return fmt.Errorf("column %s is no column of whole numbers, as a label has to be", want.label)
			}
		} else {
			s.columns[parquetLabel], s.classes = column, features[column.Name()].Names
		}
	}
	if !want.texts {
		return nil
	}
	column = find(want.caption, "", captionColumns...)
	for column != nil && !column.Leaf() && len(column.Columns()) == 1 { // list.element
		column = column.Columns()[0]
	}
	if column == nil || !column.Leaf() || column.Type().Kind() != parquet.ByteArray || column.MaxRepetitionLevel() > 1 {
		return fmt.Errorf("no column %s of strings for the caption; the columns are %q (data.caption_key)",
			cmp.Or(want.caption, strings.Join(captionColumns, " or ")), names)
	}
	s.columns[parquetText] = column
	return nil
}

func (s *parquetShard) len() int             { return int(s.first[len(s.first)-1]) }
func (s *parquetShard) key(i int) string     { return strconv.Itoa(i) }
func (s *parquetShard) classNames() []string { return s.classes }

// group returns the row group that holds row i.
func (s *parquetShard) group(i int) int {
	return sort.Search(len(s.first)-1, func(g int) bool { return s.first[g+1] > int64(i) })
}

// offset is that of the row group's images: where in it the row is, its page says.
func (s *parquetShard) offset(i int) int64 {
	return chunkStart(s.chunk(s.group(i), parquetImage))
}

func chunkStart(meta format.ColumnMetaData) int64 {
	if at := meta.DictionaryPageOffset; at > 0 && at < meta.DataPageOffset {
		return at
	}
	return meta.DataPageOffset
}

func (s *parquetShard) label(i int) (int64, error) {
	if s.columns[parquetLabel] == nil {
		return -1, nil
	}
	values, err := s.values(i, parquetLabel)
	if err != nil || len(values) == 0 || values[0].IsNull() {
		return -1, err
	}
	label := values[0].Int64()
	if values[0].Kind() == parquet.Int32 {
		label = int64(values[0].Int32())
	}
	if label < -1 || label > math.MaxInt32 {
		return 0, s.fault(i, fmt.Errorf("label %d is no class number", label))
	}
	return label, nil // −1: what Hugging Face writes for none
}

func (s *parquetShard) fault(i int, err error) error {
	return &Fault{Shard: s.name, Key: s.key(i), Offset: s.offset(i), Err: err}
}

func (s *parquetShard) read(i int) (raw, error) {
	values, err := s.values(i, parquetImage)
	if err != nil {
		return raw{}, err
	}
	if len(values) == 0 || values[0].IsNull() {
		return raw{}, s.fault(i, errors.New("no bytes in its image: a file name alone is of no use"))
	}
	record := raw{image: values[0].ByteArray()}
	if record.label, err = s.label(i); err != nil || s.columns[parquetText] == nil {
		return record, err
	}
	texts, err := s.values(i, parquetText)
	for _, text := range texts {
		if !text.IsNull() {
			record.texts = append(record.texts, string(text.ByteArray()))
		}
	}
	return record, err
}

// values returns what stands in a row of a column: one value, or those of a list.
func (s *parquetShard) values(i, role int) ([]parquet.Value, error) {
	g := s.group(i)
	at := int64(i) - s.first[g]
	number := g*parquetRoles + role
	chunk := &s.chunks[number]
	chunk.once.Do(func() { chunk.err = survive(func() error { return s.walk(g, role, chunk) }) })
	if chunk.err != nil {
		return nil, s.fault(i, chunk.err)
	}
	page, repeated := 0, s.columns[role].MaxRepetitionLevel() > 0
	if !repeated {
		page = sort.Search(len(chunk.pages), func(n int) bool { return chunk.pages[n].first > at }) - 1
	}
	value, err := s.cache.get(pageKey{s.path, number, page}, func() (value any, bytes int64, err error) {
		pages := chunk.pages
		if !repeated {
			pages = pages[page : page+1]
		}
		err = survive(func() (err error) {
			value, bytes, err = s.decode(g, role, chunk, pages)
			return err
		})
		return value, bytes, err
	})
	if err != nil {
		return nil, s.fault(i, err)
	}
	rows := value.(*parquetRows)
	if at -= rows.first; at >= int64(len(rows.rows)) {
		return nil, s.fault(i, fmt.Errorf("its page has %d rows, want more than %d; fetch the file again", len(rows.rows), at))
	}
	return rows.rows[at], nil
}

// walk reads the headers of a chunk's pages.
func (s *parquetShard) walk(g, role int, chunk *parquetChunk) error {
	meta := s.chunk(g, role)
	start := chunkStart(meta)
	end, rows := start+meta.TotalCompressedSize, int64(0)
	chunk.dictionary = absent
	buffered := bufio.NewReaderSize(nil, 512)
	for at := start; at < end && rows < meta.NumValues; {
		section := io.NewSectionReader(s.file, at, end-at)
		buffered.Reset(section)
		var protocol thrift.CompactProtocol
		var header format.PageHeader
		if err := thrift.NewDecoder(protocol.NewReader(buffered)).Decode(&header); err != nil {
			return fmt.Errorf("page header at byte %d: %w", at, err)
		}
		read, err := section.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		size, left := int64(header.CompressedPageSize), end-at-read+int64(buffered.Buffered())
		if size < 0 || size > left || header.UncompressedPageSize < 0 || header.UncompressedPageSize > maxPage {
			return fmt.Errorf("page at byte %d: %d bytes, %d unpacked, want at most %d and %d; fetch the file again, or write it with smaller row groups",
				at, size, header.UncompressedPageSize, left, maxPage)
		}
		page := parquetPage{span: span{at, end - left + size - at}, first: rows}
		n, encoding := int32(0), format.Plain
		switch header.Type {
		case format.DictionaryPage:
			chunk.dictionary = page.span
		case format.DataPage:
			n, encoding = header.DataPageHeader.V.NumValues, header.DataPageHeader.V.Encoding
		case format.DataPageV2:
			n, encoding = header.DataPageHeaderV2.V.NumValues, header.DataPageHeaderV2.V.Encoding
		}
		if n > 0 {
			const plainDictionary = 2 // what version 1 calls RLEDictionary
			page.dictionary = encoding == plainDictionary || encoding == format.RLEDictionary
			chunk.pages = append(chunk.pages, page)
			rows += int64(n)
		}
		at += page.size
	}
	flat := s.columns[role].MaxRepetitionLevel() == 0
	if group := s.metadata.RowGroups[g].NumRows; len(chunk.pages) == 0 || flat && rows != group {
		return fmt.Errorf("%d pages with %d rows, want %d rows; fetch the file again", len(chunk.pages), rows, group)
	}
	return nil
}

// chunk is what the footer says of a column in a row group.
func (s *parquetShard) chunk(g, role int) format.ColumnMetaData {
	return s.metadata.RowGroups[g].Columns[s.columns[role].Index()].MetaData
}

// decode reads pages, which are all of a repeated column's, and splits their values
// into rows. size is what they take in memory, about.
func (s *parquetShard) decode(g, role int, chunk *parquetChunk, pages []parquetPage) (_ any, size int64, err error) {
	// The library reads a chunk from its start. It is given one that holds the wanted
	// pages, and the dictionary before them, alone.
	meta := s.chunk(g, role)
	parts := spliced{file: s.file, start: cmp.Or(meta.DictionaryPageOffset, meta.DataPageOffset)}
	if chunk.dictionary != absent && slices.ContainsFunc(pages, func(p parquetPage) bool { return p.dictionary }) {
		parts.spans = append(parts.spans, chunk.dictionary)
	}
	for _, page := range pages {
		parts.spans = append(parts.spans, page.span)
	}
	from := s.groups[g].ColumnChunks()[s.columns[role].Index()].(*parquet.FileColumnChunk).PagesFrom(parts)
	defer from.Close()
	rows := &parquetRows{first: pages[0].first}
	for range pages {
		// Never released, so that its values may live as long as they are used.
		page, err := from.ReadPage()
		if err != nil {
			return nil, 0, fmt.Errorf("page at byte %d: %w", pages[0].offset, err)
		}
		values := make([]parquet.Value, page.NumValues())
		n, err := page.Values().ReadValues(values)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, 0, fmt.Errorf("page at byte %d: %w", pages[0].offset, err)
		}
		for i, v := range values[:n] {
			if v.RepetitionLevel() > 0 && len(rows.rows) > 0 {
				last := &rows.rows[len(rows.rows)-1]
				*last = append((*last)[:len(*last):len(*last)], v)
			} else {
				rows.rows = append(rows.rows, values[i:i+1])
			}
		}
		size += page.Size() + int64(n)*64
	}
	return rows, size, nil
}
