package worker

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

// startChild starts a job's program as a task host: a process group of its own, file
// 3 is its connection, and an environment that holds nothing but what it needs:
// DIVISI_HOST is the name of this host that locality compares with.
func startChild(ctx context.Context, s HostStart) (HostProcess, error) {
	defer s.Conn.Close()
	for {
		cmd := exec.Command(s.Binary, "--task-host")
		cmd.Dir = s.Dir
		cmd.Env = childEnv(s)
		cmd.Stdout, cmd.Stderr = s.Output, s.Output
		cmd.ExtraFiles = []*os.File{s.Conn}
		cmd.SysProcAttr = tied()
		err := cmd.Start()
		if err == nil {
			return child{cmd}, nil
		}
		// A program that was just written may still be open for writing in a child
		// that another goroutine has forked and that has not yet begun its own.
		if !errors.Is(err, syscall.ETXTBSY) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// inherited are the worker's own variables that a job needs to find its data.
var inherited = []string{"PATH", "HOME", "LANG", "TZ", "HADOOP_CONF_DIR", "HADOOP_USER_NAME", "JAVA_HOME", "SSL_CERT_FILE", "SSL_CERT_DIR",
	"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_CONFIG_FILE",
	"AWS_SHARED_CREDENTIALS_FILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "DIVISI_KAFKA_BOOTSTRAP"}

func childEnv(s HostStart) []string {
	env := []string{"TMPDIR=" + s.Dir, "DIVISI_HOST=" + s.Host}
	for _, k := range inherited {
		if v, ok := os.LookupEnv(k); ok {
			env = append(env, k+"="+v)
		}
	}
	keys := make([]string, 0, len(s.Job.Env))
	for k := range s.Job.Env {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		env = append(env, k+"="+s.Job.Env[k])
	}
	return env
}

type child struct{ cmd *exec.Cmd }

func (c child) PID() int { return c.cmd.Process.Pid }

// Wait waits for the process and ends what it has started and left behind: where it
// can, before the process's number is free for another.
func (c child) Wait() error {
	if awaitExit(c.PID()) {
		c.Kill()
		return c.cmd.Wait()
	}
	err := c.cmd.Wait()
	c.Kill()
	return err
}

// Kill kills the whole group: a job may have started processes of its own.
func (c child) Kill() { syscall.Kill(-c.PID(), syscall.SIGKILL) }
