package datasets

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rclone/gofakes3"
	"github.com/rclone/gofakes3/s3mem"
)

// bucket starts the S3 server of `rclone serve s3`, which checks signatures, puts the
// files of a folder into it under a prefix, and points the environment at it.
func bucket(t *testing.T, dir, prefix string) *s3mem.Backend {
	t.Helper()
	store := s3mem.New()
	if err := store.CreateBucket(t.Context(), "data"); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.PutObject(t.Context(), "data", prefix+entry.Name(), map[string]string{"Last-Modified": time.Unix(1e9, 0).UTC().Format(time.RFC1123)}, bytes.NewReader(data), int64(len(data))); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewServer(gofakes3.New(store, gofakes3.WithV4Auth(map[string]string{"AKID": "s3cret"})).Server())
	t.Cleanup(server.Close)
	for key, value := range map[string]string{
		"AWS_ENDPOINT_URL": server.URL, "AWS_ENDPOINT_URL_S3": "", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "", "AWS_DEFAULT_PROFILE": "", "AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_PROFILE": "", "AWS_SESSION_TOKEN": "",
		"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "s3cret", "AWS_ACCESS_KEY": "", "AWS_SECRET_KEY": "", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_SHARED_CREDENTIALS_FILE": filepath.Join(dir, "absent"), "AWS_CONFIG_FILE": filepath.Join(dir, "absent"),
	} {
		t.Setenv(key, value)
	}
	return store
}

// TestS3Change: an object that is replaced mid-run is an error that names it and both
// ETags.
func TestS3Change(t *testing.T) {
	dir := t.TempDir()
	bigShard(t, dir, "r.tar", 20, 400_000)
	store := bucket(t, dir, "")
	d := mustOpen(t, Options{Sources: []string{"s3://data/r.tar"}, CacheDir: NoCache, patience: hasty})
	was := d.shards[0].closer.(*remoteFile).web.seen.etag
	data, err := os.ReadFile(filepath.Join(dir, "r.tar"))
	if err != nil {
		t.Fatal(err)
	}
	data[700]++
	if _, err := store.PutObject(t.Context(), "data", "r.tar", nil, bytes.NewReader(data), int64(len(data))); err != nil {
		t.Fatal(err)
	}
	for position := int64(0); position < 20 && err == nil; position++ {
		_, err = d.Example(t.Context(), position)
	}
	if err == nil || !strings.Contains(err.Error(), "s3://data/r.tar: the file has changed") || !strings.Contains(err.Error(), was) || strings.Count(err.Error(), "ETag \"") != 2 {
		t.Errorf("error %v, want one with s3://data/r.tar and ETag %s and another", err, was)
	}
}

// TestS3IsLocal: the same bits from a bucket as from the disk, by pattern and by
// prefix, with keys that need escaping, signed with credentials from the environment
// and from ~/.aws.
func TestS3IsLocal(t *testing.T) {
	dir := threeShards(t)
	local := mustOpen(t, Options{Sources: []string{dir}, Seed: 4, Window: 7})
	for _, prefix := range []string{"", "sets/a b+c/"} {
		bucket(t, dir, prefix)
		for _, name := range []string{"s3://data/" + prefix + "r-{000..002}.tar", "s3://data/" + prefix} {
			name = strings.ReplaceAll(name, " ", "%20")
			sameExamples(t, mustOpen(t, Options{Sources: []string{name}, Seed: 4, Window: 7, CacheDir: t.TempDir(), patience: hasty}), local, 5, 60)
		}
	}
	home := t.TempDir()
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	t.Setenv("AWS_PROFILE", "work")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", writeIn(t, home, "credentials", []byte("[default]\naws_access_key_id = X\naws_secret_access_key = Y\n[work]\naws_access_key_id = AKID\naws_secret_access_key = s3cret\n")))
	t.Setenv("AWS_CONFIG_FILE", writeIn(t, home, "config", []byte("[default]\nregion = eu-west-1\n[profile work]\nregion=eu-central-1\n")))
	if region := awsRegion(); region != "eu-central-1" {
		t.Errorf("region %s, want that of the profile", region)
	}
	sameExamples(t, mustOpen(t, Options{Sources: []string{"s3://data/sets/a%20b+c/"}, Seed: 4, Window: 7, CacheDir: NoCache, patience: hasty}), local, 0, 30)
}

// TestS3Profile: endpoint, region and credentials of a profile in ~/.aws/config, as a
// service's and as the profile's own.
func TestS3Profile(t *testing.T) {
	dir := threeShards(t)
	local := mustOpen(t, Options{Sources: []string{dir}, Seed: 4})
	bucket(t, dir, "")
	url := os.Getenv("AWS_ENDPOINT_URL")
	t.Setenv("AWS_ENDPOINT_URL", "")
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	t.Setenv("AWS_DEFAULT_PROFILE", "work")
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "config"))
	const keys = "[profile work]\nregion = eu-central-1\naws_access_key_id = AKID\naws_secret_access_key = s3cret\n"
	const other = "[default]\nendpoint_url = http://127.0.0.1:1\n"
	for _, config := range []string{
		other + keys + "services = mine\nendpoint_url = http://127.0.0.1:1\n# stores\n[services mine]\nendpoint_url = http://127.0.0.1:1\ndynamodb =\n  endpoint_url = http://127.0.0.1:1\ns3 =\n  endpoint_url = " + url + "\n",
		other + keys + "services = absent\nendpoint_url = " + url + "/\n",
	} {
		writeIn(t, dir, "config", []byte(config))
		sameExamples(t, mustOpen(t, Options{Sources: []string{"s3://data/"}, Seed: 4, CacheDir: NoCache, patience: hasty}), local, 0, 12)
		if awsRegion() != "eu-central-1" {
			t.Errorf("region %s", awsRegion())
		}
	}
	t.Setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
	if endpoint := awsEndpoint(); endpoint != "" {
		t.Errorf("endpoint %s, though those of files are to be ignored", endpoint)
	}
}

// TestS3Errors: what the store says is passed on, with what to do.
func TestS3Errors(t *testing.T) {
	bucket(t, threeShards(t), "")
	open := func(name string) error {
		_, err := Open(t.Context(), Options{Sources: []string{name}, CacheDir: NoCache, patience: hasty})
		return err
	}
	for name, want := range map[string]string{
		"s3://data/absent.tar": "s3://data/absent.tar: status 404 Not Found: NoSuchKey", "s3://nowhere/a.tar": "status 404 Not Found: NoSuchBucket",
		"s3://data/empty/": "no .tar or .parquet file right below it",
	} {
		if err := open(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", name, err, want)
		}
	}
	t.Setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
	if err := open("s3://data/"); err == nil || !strings.Contains(err.Error(), "data source s3://data/: dial tcp 127.0.0.1:1") {
		t.Errorf("no store: error %v", err)
	}
	t.Setenv("AWS_ENDPOINT_URL_S3", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
	if err := open("s3://data/r-000.tar"); err == nil || !strings.Contains(err.Error(), "s3://data/r-000.tar: status 403 Forbidden: SignatureDoesNotMatch") || !strings.Contains(err.Error(), "credentials") {
		t.Errorf("wrong secret: error %v", err)
	}
}

// TestS3Addresses: where an object is, by endpoint, region and bucket name.
func TestS3Addresses(t *testing.T) {
	for _, row := range []struct{ endpoint, region, name, want string }{
		{"", "", "s3://b/k/x.tar", "https://b.s3.us-east-1.amazonaws.com/k/x.tar"},
		{"", "eu-north-1", "s3://b.c/x.tar", "https://s3.eu-north-1.amazonaws.com/b.c/x.tar"},
		{"https://minio.example.org/", "", "s3://b/k/x%20y.tar", "https://minio.example.org/b/k/x%20y.tar"},
	} {
		t.Setenv("AWS_CONFIG_FILE", "absent")
		t.Setenv("AWS_ENDPOINT_URL_S3", "")
		t.Setenv("AWS_DEFAULT_REGION", "")
		t.Setenv("AWS_ENDPOINT_URL", row.endpoint)
		t.Setenv("AWS_REGION", row.region)
		w, err := newWebFile(row.name, newNetwork(hasty, nil))
		if err != nil || w.url != row.want {
			t.Errorf("%s: %v %v, want %s", row.name, fmt.Sprint(w), err, row.want)
		}
	}
}
