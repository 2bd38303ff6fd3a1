package s3

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/divisi-data/divisi/storage"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"
	"golang.org/x/sync/semaphore"
)

// config is what a process's environment says. Two equal ones reach the same
// servers with the same credentials.
type config struct {
	endpoint, region, marks, caBundle string

	// These are read again by the credential providers. They are here so that a
	// change of theirs makes another filesystem, and are never printed.
	keyID, secret, token, profile, webIdentity, role string
}

// environment reads the settings, the environment before the shared files.
func environment() (config, error) {
	c := config{
		endpoint: first(os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL")),
		region:   first(os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION")),
		marks:    folderPrefix(strings.Trim(os.Getenv("DIVISI_S3_ATTEMPTS"), "/")),
		caBundle: os.Getenv("AWS_CA_BUNDLE"),

		keyID: os.Getenv("AWS_ACCESS_KEY_ID"), secret: os.Getenv("AWS_SECRET_ACCESS_KEY"), token: os.Getenv("AWS_SESSION_TOKEN"),
		profile: os.Getenv("AWS_PROFILE"), webIdentity: os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE"), role: os.Getenv("AWS_ROLE_ARN"),
	}
	if reserved(c.marks) {
		return c, fmt.Errorf("DIVISI_S3_ATTEMPTS names a folder with a part %s", hidden)
	}
	if c.endpoint == "" || c.region == "" {
		shared, err := sharedConfig(c.profile)
		if err != nil {
			return c, err
		}
		c.endpoint = first(c.endpoint, shared["endpoint_url"])
		c.region = first(c.region, shared["region"])
	}
	if c.endpoint != "" && c.region == "" {
		c.region = "us-east-1" // what compatible servers are told when nobody cares
	}
	return c, nil
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// sharedConfig reads a profile's own settings from the AWS tools' config file,
// which may be absent. Nested settings, which are indented, are left out.
func sharedConfig(profile string) (map[string]string, error) {
	name := os.Getenv("AWS_CONFIG_FILE")
	if name == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, nil
		}
		name = filepath.Join(home, ".aws", "config")
	}
	file, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the AWS config file: %w", err)
	}
	defer file.Close()
	section := "[profile " + profile + "]"
	if profile == "" || profile == "default" {
		section = "[default]"
	}
	found, in := map[string]string{}, false
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, "[") {
			in = strings.Join(strings.Fields(line), " ") == section
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if in && ok && !strings.HasPrefix(line, "#") && !strings.HasPrefix(lines.Text(), " ") && !strings.HasPrefix(lines.Text(), "\t") {
			found[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("the AWS config file %s: %w", name, err)
	}
	return found, nil
}

// newFS makes a bucket's client. It sends nothing yet.
func newFS(c config, bucket string, set settings) (*FS, error) {
	if err := s3utils.CheckValidBucketName(bucket); err != nil {
		return nil, fmt.Errorf("%q is no name of a bucket: %w", bucket, err)
	}
	host, secure := "s3.amazonaws.com", true
	if c.endpoint != "" {
		u, err := url.Parse(c.endpoint)
		// The endpoint is not repeated where it may hold a password.
		if err != nil || u.User != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			return nil, errors.New("the endpoint (AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, or endpoint_url of the profile) has to be http://host:port or https://host:port and nothing more")
		}
		host, secure = u.Host, u.Scheme == "https"
	}
	transport, err := newTransport(c.caBundle)
	if err != nil {
		return nil, err
	}
	provider := newChain(c)
	creds := credentials.New(provider)
	core, err := minio.NewCore(host, &minio.Options{
		Creds: creds, Secure: secure, Region: c.region, Transport: transport,
		MaxRetries: 1, // retries are this package's: they know what may be repeated
	})
	if err != nil {
		return nil, fmt.Errorf("the endpoint %s: %w", host, err)
	}
	core.SetAppInfo("divisi", "1")
	wire := &wire{dial: transport.DialContext, tls: transport.TLSClientConfig}
	return &FS{
		bucket: bucket, marks: c.marks, core: core, creds: provider, refresh: creds.Expire,
		getter: &getter{wire: wire, send: transport, proxy: transport.Proxy, keys: creds},
		close: func() {
			transport.CloseIdleConnections()
			wire.closeIdle()
		},
		set: set, repeats: storage.Repeats{PerSecond: set.repeats}, inFly: semaphore.NewWeighted(set.uploads), alive: make(chan struct{}),
	}, nil
}

func newTransport(caBundle string) (*http.Transport, error) {
	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: dialTime, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout: dialTime,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		MaxIdleConnsPerHost: idleMax,
		IdleConnTimeout:     idleTime,
		DisableCompression:  true, // what is stored compressed is read as it is stored
	}
	if caBundle != "" {
		pem, err := os.ReadFile(caBundle)
		if err != nil {
			return nil, fmt.Errorf("AWS_CA_BUNDLE: %w", err)
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("AWS_CA_BUNDLE: %s holds no certificate", caBundle)
		}
	}
	return t, nil
}
