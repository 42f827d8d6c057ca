package datasets

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/signer"
)

// bucketStore signs requests to S3 and to what speaks its protocol. Everything is
// found where the AWS tools look: AWS_ACCESS_KEY_ID and its kin, ~/.aws/credentials
// and ~/.aws/config with AWS_PROFILE, a credential_process in them, the role of the
// machine; see awsRegion and awsEndpoint. Where there are no credentials at all,
// requests go unsigned, as public buckets want them.
type bucketStore struct {
	once   sync.Once
	chain  *credentials.Credentials
	public atomic.Bool // there are no credentials, which need not be looked for again
}

// emptySHA256 is the digest of no bytes, the body of a GET.
const emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// locate turns s3://bucket/key into the URL of the object: with an endpoint, or a
// bucket whose name holds dots, which no certificate covers, the bucket is in the path.
func (b *bucketStore) locate(u *url.URL) (string, error) {
	bucket, key := u.Host, strings.TrimPrefix(u.Path, "/")
	if bucket == "" {
		return "", fmt.Errorf("data source %s: want s3://bucket/key", u)
	}
	object := (&url.URL{Path: key}).EscapedPath()
	if endpoint := awsEndpoint(); endpoint != "" {
		if !strings.Contains(endpoint, "://") {
			return "", fmt.Errorf("AWS_ENDPOINT_URL or endpoint_url = %q, want a URL such as https://minio.example.org", endpoint)
		}
		return strings.TrimRight(endpoint, "/") + "/" + bucket + "/" + object, nil
	}
	region := awsRegion()
	if strings.Contains(bucket, ".") {
		return "https://s3." + region + ".amazonaws.com/" + bucket + "/" + object, nil
	}
	return "https://" + bucket + ".s3." + region + ".amazonaws.com/" + object, nil
}

// sign adds the signature (AWS Signature Version 4), whose time is now.
func (b *bucketStore) sign(request *http.Request) error {
	if b.public.Load() {
		return nil
	}
	b.once.Do(func() {
		profile, inConfig := awsProfile()
		providers := []credentials.Provider{&credentials.EnvAWS{}, &credentials.FileAWSCredentials{Profile: profile},
			&credentials.FileAWSCredentials{Filename: awsConfigFile(), Profile: inConfig}}
		named := os.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") + os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI") + os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE")
		if named != "" || !strings.EqualFold(os.Getenv("AWS_EC2_METADATA_DISABLED"), "true") {
			providers = append(providers, &credentials.IAM{})
		}
		b.chain = credentials.NewChainCredentials(providers)
	})
	// A machine without a role has no metadata service either: five seconds tell.
	who, err := b.chain.GetWithContext(&credentials.CredContext{Client: &http.Client{Timeout: 5 * time.Second}})
	if err != nil {
		return fmt.Errorf("credentials: %w; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile in ~/.aws/credentials", err)
	}
	if who.SignerType.IsAnonymous() || who.AccessKeyID == "" {
		b.public.Store(true)
		return nil
	}
	request.Header.Set("X-Amz-Content-Sha256", emptySHA256)
	*request = *signer.SignV4(*request, who.AccessKeyID, who.SecretAccessKey, who.SessionToken, awsRegion())
	return nil
}

// list returns the URLs of the objects right below s3://bucket/prefix/, of which
// wanted chooses by base name.
func (b *bucketStore) list(ctx context.Context, name string, n *network, wanted func(base string) bool) ([]string, error) {
	u, err := url.Parse(name)
	if err != nil {
		return nil, fmt.Errorf("data source %s: no URL", name)
	}
	prefix := strings.TrimPrefix(u.Path, "/")
	root, err := b.locate(&url.URL{Scheme: "s3", Host: u.Host})
	if err != nil {
		return nil, err
	}
	var found []string
	for token := ""; ; {
		query := url.Values{"list-type": {"2"}, "prefix": {prefix}, "delimiter": {"/"}}
		if token != "" {
			query.Set("continuation-token", token)
		}
		// SigV4 wants %20 for a space, where Go's form encoding has +.
		page := &webFile{url: root + "?" + strings.ReplaceAll(query.Encode(), "+", "%20"), address: name, sign: b.sign, client: n.client, patience: n.patience, seen: version{size: -1}}
		body, err := page.whole(ctx, 16<<20)
		if err != nil {
			return nil, fmt.Errorf("data source %s: %w", name, err)
		}
		var list struct {
			Contents              []struct{ Key string }
			NextContinuationToken string
		}
		if err := xml.Unmarshal(body, &list); err != nil {
			return nil, fmt.Errorf("data source %s: listing the bucket: %w", name, err)
		}
		for _, object := range list.Contents {
			if base := strings.TrimPrefix(object.Key, prefix); wanted(base) {
				found = append(found, (&url.URL{Scheme: "s3", Host: u.Host, Path: "/" + object.Key}).String())
			}
		}
		if token = list.NextContinuationToken; token == "" {
			return found, nil
		}
	}
}
