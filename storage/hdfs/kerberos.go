package hdfs

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"

	"github.com/jcmturner/gokrb5/v8/client"
	"github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/credentials"
	"github.com/jcmturner/gokrb5/v8/keytab"
)

// kerberos is who this process is to Kerberos, as MIT's tools would have it:
// KRB5_CLIENT_KTNAME names a keytab, whose first principal is taken and logged
// in; without it, the credentials cache is used that KRB5CCNAME names or kinit
// fills by default. KRB5_CONFIG names the configuration, else /etc/krb5.conf.
func kerberos() (*client.Client, error) {
	file := os.Getenv("KRB5_CONFIG")
	if file == "" {
		file = "/etc/krb5.conf"
	}
	conf, err := config.Load(file)
	if err != nil {
		return nil, fmt.Errorf("the cluster wants Kerberos, and its configuration cannot be read: %w (KRB5_CONFIG names it)", err)
	}
	if name := os.Getenv("KRB5_CLIENT_KTNAME"); name != "" {
		return fromKeytab(conf, strings.TrimPrefix(name, "FILE:"))
	}
	name, err := cacheFile()
	if err != nil {
		return nil, err
	}
	cache, err := credentials.LoadCCache(name)
	if err == nil {
		var c *client.Client
		if c, err = client.NewFromCCache(cache, conf); err == nil {
			return c, nil
		}
	}
	return nil, fmt.Errorf("the cluster wants Kerberos, and the credentials cache %s is of no use: %w (run kinit, or name a keytab in KRB5_CLIENT_KTNAME)", name, err)
}

func fromKeytab(conf *config.Config, name string) (*client.Client, error) {
	kt, err := keytab.Load(name)
	if err == nil && len(kt.Entries) == 0 {
		err = errors.New("it has no entry")
	}
	if err != nil {
		return nil, fmt.Errorf("the cluster wants Kerberos, and the keytab %s of KRB5_CLIENT_KTNAME is of no use: %w", name, err)
	}
	who := kt.Entries[0].Principal
	c := client.NewWithKeytab(strings.Join(who.Components, "/"), who.Realm, kt, conf, client.DisablePAFXFAST(true))
	if err := c.Login(); err != nil {
		return nil, fmt.Errorf("Kerberos refuses %s of the keytab %s: %w", strings.Join(who.Components, "/")+"@"+who.Realm, name, err)
	}
	return c, nil
}

func cacheFile() (string, error) {
	name := os.Getenv("KRB5CCNAME")
	if kind, rest, ok := strings.Cut(name, ":"); ok {
		if kind != "FILE" {
			return "", fmt.Errorf("KRB5CCNAME is %s: only caches in files are read (FILE:/path)", name)
		}
		name = rest
	}
	if name == "" {
		u, err := user.Current()
		if err != nil {
			return "", fmt.Errorf("the cluster wants Kerberos, and there is no user: %w (set KRB5CCNAME)", err)
		}
		name = "/tmp/krb5cc_" + u.Uid
	}
	return name, nil
}
