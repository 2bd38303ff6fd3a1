package s3

import (
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

// chain asks for credentials in the order of the AWS tools: environment, web
// identity, shared files, container, instance. It remembers for a minute that
// there are none, and then requests go unsigned, as public buckets take them.
type chain struct {
	sources []source
	now     func() time.Time

	mu      sync.Mutex
	current credentials.Provider
	value   credentials.Value
	none    time.Time // when none were found
	failed  []string  // sources that were asked for by name and gave nothing
}

type source struct {
	provider credentials.Provider
	asked    string // says who asked for it by name, or ""
}

func newChain(c config) *chain {
	role := source{provider: &credentials.IAM{Region: c.region}}
	profile := source{provider: &credentials.FileAWSCredentials{}}
	if c.profile != "" {
		profile.asked = "AWS_PROFILE names a profile that the shared AWS files do not have or that gives no credentials"
	}
	all := []source{{provider: &credentials.EnvAWS{}}}
	switch {
	case c.webIdentity != "":
		role.asked = "AWS_WEB_IDENTITY_TOKEN_FILE is set, and its token was not exchanged for credentials"
		all = append(all, role, profile)
	case os.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") != "" || os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI") != "":
		role.asked = "the container's credentials (AWS_CONTAINER_CREDENTIALS_...) could not be fetched"
		all = append(all, profile, role)
	case strings.EqualFold(os.Getenv("AWS_EC2_METADATA_DISABLED"), "true"):
		all = append(all, profile)
	default:
		// Where there is no metadata service nobody answers at all.
		role.provider = &credentials.IAM{Region: c.region, Client: &http.Client{
			Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}}
		all = append(all, profile, role)
	}
	return &chain{sources: all, now: time.Now}
}

// Retrieve is for an older interface of the client library.
func (c *chain) Retrieve() (credentials.Value, error) { return c.RetrieveWithCredContext(nil) }

// RetrieveWithCredContext asks one source after the other. What they say when they
// fail is not passed on: it may quote the files and requests that secrets are in.
func (c *chain) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	var failed []string
	for _, s := range c.sources {
		v, err := s.provider.RetrieveWithCredContext(cc)
		if err == nil && v.AccessKeyID != "" && v.SecretAccessKey != "" {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.current, c.value, c.none, c.failed = s.provider, v, time.Time{}, nil
			return v, nil
		}
		if s.asked != "" {
			failed = append(failed, s.asked)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current, c.none, c.failed = nil, c.now(), failed
	return credentials.Value{SignerType: credentials.SignatureAnonymous}, nil
}

// IsExpired reports whether the next request has to ask again.
func (c *chain) IsExpired() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != nil {
		return c.current.IsExpired()
	}
	return c.none.IsZero() || c.now().Sub(c.none) > time.Minute
}

// lacking says why requests go unsigned, or "".
func (c *chain) lacking() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.none.IsZero() {
		return ""
	}
	return strings.Join(append(c.failed, "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role"), "; ")
}

// redact removes what is secret from a text that comes from elsewhere.
func (c *chain) redact(text string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, secret := range []string{c.value.SecretAccessKey, c.value.SessionToken, c.value.AccessKeyID} {
		if len(secret) >= 4 { // shorter ones are words, and no secrets
			text = strings.ReplaceAll(text, secret, "[redacted]")
		}
	}
	return text
}
