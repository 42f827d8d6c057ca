package datasets

import (
	"archive/tar"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestReadClassNames: lines are classes, and a file that would number them
// wrongly is refused.
func TestReadClassNames(t *testing.T) {
	good := write(t, "names.txt", []byte("\ufefftench, Tinca tinca\r\n crane \r\ncrane"))
	names, err := ReadClassNames(good, 3)
	if err != nil || !slices.Equal(names, []string{"tench, Tinca tinca", "crane", "crane"}) {
		t.Errorf("%q, %v", names, err)
	}
	if _, err := ReadClassNames(good, 0); err != nil {
		t.Error(err)
	}
	thousand := write(t, "imagenet-classes.txt", []byte(strings.Repeat("name\n", 999)))
	for _, row := range []struct {
		path string
		want int
		err  string
	}{
		{thousand, 1000, "imagenet-classes.txt: 999 lines, want 1000"},
		{thousand, 998, "999 lines, want 998"},
		{write(t, "gap.txt", []byte("a\n\nb\n")), 0, "line 2 is empty, want the name of class 1"},
		{write(t, "empty.txt", nil), 0, "line 1 is empty"},
		{write(t, "end.txt", []byte("a\n\n")), 0, "line 2 is empty"},
		{write(t, "latin1.txt", []byte("caf\xe9\n")), 0, "not UTF-8"},
		{t.TempDir(), 0, "want a regular file"},
		{"nowhere.txt", 0, "nowhere.txt"},
	} {
		if _, err := ReadClassNames(row.path, row.want); err == nil || !strings.Contains(err.Error(), row.err) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want %q", row.path, err, row.err)
		}
	}
}

// TestClassCaption: the three placeholders, and that each synonym is drawn as
// often as the others (2,000 draws of 4: within five deviations of 500, 97).
func TestClassCaption(t *testing.T) {
	const name = "drake, duck,  ,Anas platyrhynchos, mallard"
	if got := ClassCaption("a photo of a {first}; {class}.", name, 1, 2); got != "a photo of a drake; "+name+"." {
		t.Errorf("%q", got)
	}
	if got := ClassCaption("{synonym}{first}", " , ,", 1, 2); got != " , , , ," {
		t.Errorf("%q", got)
	}
	count := map[string]int{}
	for position := range int64(2000) {
		got := ClassCaption("{synonym}", name, 9, position)
		if again := ClassCaption("{synonym}", name, 9, position); again != got {
			t.Fatalf("position %d: %q, then %q", position, got, again)
		}
		count[got]++
	}
	for _, synonym := range []string{"drake", "duck", "Anas platyrhynchos", "mallard"} {
		if n := count[synonym]; n < 403 || n > 597 {
			t.Errorf("%q was drawn %d times of 2000, want about 500", synonym, n)
		}
	}
	if len(count) != 4 {
		t.Errorf("%d names: %v", len(count), count)
	}
}

// captioned has four records: a label and a text, a label and two texts, nothing, a label.
func captioned(t *testing.T) string {
	return write(t, "captioned.tar", tarBytes(t, tar.FormatUSTAR,
		member{name: "a.png", data: dot(4, 4, 1)}, file("a.cls", "0"), file("a.txt", "one text\n"),
		member{name: "b.png", data: dot(4, 4, 2)}, file("b.json", `{"label": 1, "caption": ["x", "y"], "alt": "z", "kind": 2}`),
		member{name: "c.png", data: dot(4, 4, 3)},
		member{name: "d.png", data: dot(4, 4, 4)}, file("d.cls", "2"),
	))
}

// texts collects what each record gets over some epochs, and its faults as "!".
func texts(t *testing.T, options Options, epochs int64) map[string][]string {
	t.Helper()
	d := mustOpen(t, options)
	got := map[string][]string{}
	for position := range epochs * int64(d.Len()) {
		e, err := d.Example(t.Context(), position)
		var fault *Fault
		switch {
		case errors.As(err, &fault):
			got[fault.Key] = append(got[fault.Key], "!")
		case err != nil:
			t.Fatal(err)
		default:
			got[e.Key] = append(got[e.Key], e.Text)
		}
	}
	for key, list := range got {
		slices.Sort(list)
		got[key] = slices.Compact(list)
	}
	return got
}

// TestCaptions: each source of captions, with and without keys.
func TestCaptions(t *testing.T) {
	path := captioned(t)
	names := write(t, "names.txt", []byte("zero\none, eins\ntwo\n"))
	for _, row := range []struct {
		options Options
		want    string
	}{
		{Options{}, "map[a:[] b:[] c:[] d:[]]"},
		{Options{Captions: CaptionsStored}, "map[a:[one text] b:[x y] c:[!] d:[!]]"},
		{Options{Captions: CaptionsStored, CaptionKey: "alt"}, "map[a:[!] b:[z] c:[!] d:[!]]"},
		{Options{Captions: CaptionsStored, BadRecords: BadRecordsSkip}, "map[a:[one text] b:[x y]]"},
		{Options{Captions: CaptionsClass, ClassNames: names}, "map[a:[zero] b:[one, eins] c:[!] d:[two]]"},
		{Options{Captions: CaptionsClass, ClassNames: names, CaptionTemplate: "a {synonym}", NumClasses: 3}, "map[a:[a zero] b:[a eins a one] c:[!] d:[a two]]"},
		{Options{Captions: CaptionsClass, ClassNames: names, LabelKey: "kind", BadRecords: BadRecordsSkip}, "map[b:[two]]"},
	} {
		row.options.Sources = []string{path}
		if got := fmt.Sprint(texts(t, row.options, 10)); got != row.want {
			t.Errorf("%+v\ngot  %s\nwant %s", row.options, got, row.want)
		}
	}
}

// TestCaptionKeyIsNamed: a record without the field that caption_key names says which.
func TestCaptionKeyIsNamed(t *testing.T) {
	d := mustOpen(t, Options{Sources: []string{captioned(t)}, Captions: CaptionsStored, CaptionKey: "prose"})
	if _, err := d.Example(t.Context(), 0); err == nil || !strings.Contains(err.Error(), `want a string "prose"`) {
		t.Errorf("%v, want the key in it", err)
	}
}

// TestCaptionOptions: what cannot be is said when the data is opened, and a
// label beyond the names when it is met.
func TestCaptionOptions(t *testing.T) {
	path := captioned(t)
	two := write(t, "two.txt", []byte("zero\none\n"))
	for _, row := range []struct {
		options Options
		err     string
	}{
		{Options{Captions: "all"}, `data.captions = "all", want one of none, stored, class`},
		{Options{Captions: CaptionsClass}, "want a file of them, a class a line, as data.class_names"},
		{Options{Captions: CaptionsClass, ClassNames: two, NumClasses: 3}, "2 lines, want 3"},
		{Options{ClassNames: two, NumClasses: 3}, "2 lines, want 3"},
		{Options{CaptionTemplate: "a {label}"}, "{label} is unknown, want {class}, {first} or {synonym}"},
		{Options{CaptionTemplate: "a photo"}, "names no class"},
		{Options{Sources: []string{Embedded}, Captions: CaptionsClass, NumClasses: 11}, "the data names 10 classes"},
		{Options{Sources: []string{Embedded}, ClassNames: two}, "2 lines, want 10"},
	} {
		if row.options.Sources == nil {
			row.options.Sources = []string{path}
		}
		if _, err := Open(t.Context(), row.options); err == nil || !strings.Contains(err.Error(), row.err) {
			t.Errorf("%+v: error %v, want %q", row.options, err, row.err)
		}
	}
	d := mustOpen(t, Options{Sources: []string{path}, Captions: CaptionsClass, ClassNames: two, BadRecords: BadRecordsSkip})
	l := d.Loader(0, 4)
	defer l.Close()
	if _, err := l.Next(t.Context()); err == nil || !strings.Contains(err.Error(), "label 2, want 0 to 1 (the number of class names is 2)") {
		t.Errorf("error %v", err)
	}
}

// TestClassNames: those of the data, those of a file, and the warning for two
// classes of one name, as ImageNet's crane.
func TestClassNames(t *testing.T) {
	d := mustOpen(t, Options{Captions: CaptionsClass, CaptionTemplate: "a photo of a {class}"})
	e, err := d.Example(t.Context(), 0)
	if err != nil || e.Text != "a photo of a "+d.ClassNames()[e.Label] || len(d.ClassNames()) != 10 {
		t.Errorf("%q of label %d, %v", e.Text, e.Label, err)
	}
	if w := d.Warnings(); len(w) != 0 {
		t.Errorf("warnings %q", w)
	}
	names := write(t, "names.txt", []byte("crane\nb\ncrane\ncrane\n"))
	d = mustOpen(t, Options{Sources: []string{captioned(t)}, ClassNames: names})
	want := []string{
		`class names: 0 and 2 are both "crane", so that captions do not tell them apart`,
		`class names: 0 and 3 are both "crane", so that captions do not tell them apart`,
	}
	if w := d.Warnings(); !slices.Equal(w, want) || len(d.ClassNames()) != 4 {
		t.Errorf("warnings %q", w)
	}
	// What is compared is what the template makes of a line.
	names = write(t, "names.txt", []byte("maillot\nmaillot, tank suit\nmissile\nprojectile, missile\n"))
	for template, pairs := range map[string]string{"{class}": "", "a {first}": "0 and 1", "{synonym}": "0 and 1, 2 and 3"} {
		d := mustOpen(t, Options{Sources: []string{captioned(t)}, ClassNames: names, Captions: CaptionsClass, CaptionTemplate: template})
		var got []string
		for _, line := range d.Warnings() {
			between, _, _ := strings.Cut(strings.TrimPrefix(line, "class names: "), " are both ")
			got = append(got, between)
		}
		if strings.Join(got, ", ") != pairs {
			t.Errorf("%s: classes %q share a name, want %s", template, got, pairs)
		}
	}
}

// TestCaptionsBeside: files beside the images of a folder, in classes or not.
func TestCaptionsBeside(t *testing.T) {
	for _, folder := range []string{"", "class/"} {
		dir := t.TempDir()
		for name, data := range map[string]string{"a.txt": " one text\n", "b.json": `{"caption": ["x", "y"], "alt": "z"}`, "c.x.txt": "dotted", "d.json": `{"caption": 5}`, "e.json": "{\"caption\"", "g.txt": ""} {
			writeIn(t, dir, folder+name, []byte(data))
		}
		for _, name := range []string{"a.png", "b.jpg", "c.x.png", "d.png", "e.png", "f.png", "g.png"} {
			writeIn(t, dir, folder+name, dot(4, 4, 1))
		}
		options := Options{Sources: []string{dir}, Captions: CaptionsStored}
		key := func(name string) string { return folder + name }
		for want, options := range map[string]Options{
			fmt.Sprintf("map[%s:[one text] %s:[x y] %s:[dotted] %s:[!] %s:[!] %s:[!] %s:[]]", key("a.png"), key("b.jpg"), key("c.x.png"), key("d.png"), key("e.png"), key("f.png"), key("g.png")): options,
			fmt.Sprintf("map[%s:[z]]", key("b.jpg")): {Sources: options.Sources, Captions: CaptionsStored, CaptionKey: "alt", BadRecords: BadRecordsSkip},
		} {
			if got := fmt.Sprint(texts(t, options, 10)); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		}
	}
}
