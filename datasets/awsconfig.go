package datasets

import (
	"bufio"
	"cmp"
	"os"
	"path/filepath"
	"strings"
)

// awsRegion is that of the environment, of the profile, or Amazon's first one.
func awsRegion() string {
	return cmp.Or(os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"), awsSetting("region"), "us-east-1")
}

// awsEndpoint is the address of a store that is not Amazon's, "" for Amazon: of the
// environment, of the profile's services section, of the profile, in this order ("Service-specific
// endpoints" in the AWS SDKs and Tools Reference Guide).
func awsEndpoint() string {
	if endpoint := cmp.Or(os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL")); endpoint != "" {
		return endpoint
	}
	if strings.EqualFold(os.Getenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"), "true") {
		return ""
	}
	if services := awsSetting("services"); services != "" {
		if endpoint := iniValue(awsConfigFile(), "services "+services, "s3.endpoint_url"); endpoint != "" {
			return endpoint
		}
	}
	return awsSetting("endpoint_url")
}

// awsProfile is the profile's name, as a section of ~/.aws/credentials and as one of
// ~/.aws/config.
func awsProfile() (name, inConfig string) {
	name = cmp.Or(os.Getenv("AWS_PROFILE"), os.Getenv("AWS_DEFAULT_PROFILE"), "default")
	if name == "default" {
		return name, name
	}
	return name, "profile " + name
}

func awsConfigFile() string {
	home, err := os.UserHomeDir()
	if err != nil {
		home = "."
	}
	return cmp.Or(os.Getenv("AWS_CONFIG_FILE"), filepath.Join(home, ".aws", "config"))
}

// awsSetting is what the profile says in ~/.aws/config, "" where it says nothing.
func awsSetting(key string) string {
	_, section := awsProfile()
	return iniValue(awsConfigFile(), section, key)
}

// iniValue is the value of a key in a section of a file, "" where there is none. What
// is indented below "s3 =" has the key "s3.…".
func iniValue(path, section, key string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	inside, above := false, ""
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if head, ok := strings.CutPrefix(line, "["); ok {
			name, _, _ := strings.Cut(head, "]")
			inside, above = strings.Join(strings.Fields(name), " ") == section, ""
			continue
		}
		name, value, _ := strings.Cut(line, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if lines.Text()[0] == ' ' || lines.Text()[0] == '\t' {
			name = above + "." + name
		} else {
			above = name
		}
		if inside && name == key && value != "" {
			return value
		}
	}
	return ""
}
