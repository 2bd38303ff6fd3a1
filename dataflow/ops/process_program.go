package ops

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/divisi-data/divisi/dataflow"
)

// lastStderr is how long a program's standard error is read on after the program and
// its process group have gone, for what has left the group and keeps it open.
const lastStderr = time.Second

// A program is one run of a process's command, in a working folder and a process group
// of its own. Four goroutines serve it, which end and kill wait for: one starts it and
// waits for it, one writes its standard input, and two read what it prints.
//
// On standard error, a line "reporter:counter:group,name,n" adds n to the counter
// "group.name", "reporter:status:text" goes to the attempt's log, and so does all else.
type program struct {
	op  process
	env *dataflow.Env
	dir string

	in     chan dataflow.Batch // what is to be written; whoever takes a batch releases it
	ended  bool                // in is closed
	out    chan dataflow.Batch // what was printed; closed after the last
	stop   chan struct{}       // closed by kill
	exited chan struct{}       // closed when the program is gone and has printed all
	wg     sync.WaitGroup
	mem    held // of the goroutine that reads

	cmd                   *exec.Cmd
	stdin, stdout, stderr *os.File // our ends
	printed, complained   chan struct{}

	mu     sync.Mutex
	reaped bool // its number may be another's

	// What the goroutines leave when they are done.
	exit, readErr, stderrErr error
	last                     tail
}

// startProgram starts the command for rows that begin at from.
func startProgram(env *dataflow.Env, op process, from origin) (_ *program, err error) {
	p := &program{
		op: op, env: env, mem: held{memory: env.Memory},
		in: make(chan dataflow.Batch), out: make(chan dataflow.Batch, 1), stop: make(chan struct{}), exited: make(chan struct{}),
		printed: make(chan struct{}), complained: make(chan struct{}),
	}
	if p.dir, err = workFolder(env, op.Files); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(p.dir))
		}
	}()
	path, err := findProgram(p.dir, op.Command[0])
	if err != nil {
		return nil, p.failure(dataflow.User, err, "ship it with the job, or install it on every worker")
	}
	p.cmd = &exec.Cmd{Path: path, Args: op.Command, Dir: p.dir, SysProcAttr: ownGroup()}
	p.cmd.Env = append(append(os.Environ(), "PWD="+p.dir), taskVariables(env.Task, op.Phase, from)...)
	p.cmd.Env = append(p.cmd.Env, op.Env...)
	theirs, err := p.pipes()
	if err != nil {
		return nil, p.failure(dataflow.Transient, err, "")
	}
	started := make(chan error, 1)
	p.wg.Go(func() { p.run(started) })
	err = <-started
	for _, f := range theirs {
		f.Close()
	}
	if err != nil {
		p.wg.Wait()
		p.closePipes()
		return nil, p.failure(startKind(err), err, "a script begins with #! and its interpreter")
	}
	p.wg.Go(p.write)
	p.wg.Go(p.read)
	p.wg.Go(p.listen)
	return p, nil
}

// startKind: a lack of processes or files may pass, a file that is no program stays one.
func startKind(err error) dataflow.Kind {
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.ENOMEM) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return dataflow.Transient
	}
	return dataflow.User
}

// workFolder makes a folder with links to the shipped files, where the attempt's other
// temporary files are.
func workFolder(env *dataflow.Env, files []string) (string, error) {
	f, err := env.Temp.Create("process")
	if err != nil {
		return "", err
	}
	dir := f.Name() + ".dir"
	if err := errors.Join(f.Close(), os.Remove(f.Name()), os.Mkdir(dir, 0o700)); err != nil {
		return "", err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	for _, name := range files {
		if env.File == nil {
			err = &dataflow.Error{Op: "ops.process", Path: name, Kind: dataflow.User, Err: errors.New("no files were shipped")}
		} else {
			var at string
			if at, err = env.File(name); err == nil {
				if at, err = filepath.Abs(at); err == nil {
					err = os.Symlink(at, filepath.Join(dir, name))
				}
			}
		}
		if err != nil {
			return "", errors.Join(err, os.RemoveAll(dir))
		}
	}
	return dir, nil
}

// findProgram looks in the working folder and then in PATH. A name with a slash is
// taken as it is, from the working folder.
func findProgram(dir, name string) (string, error) {
	if strings.ContainsRune(name, '/') {
		at := name
		if !filepath.IsAbs(at) {
			at = filepath.Join(dir, at)
		}
		_, err := os.Stat(at)
		return at, err
	}
	at := filepath.Join(dir, name)
	if st, err := os.Stat(at); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
		return at, nil
	}
	return exec.LookPath(name)
}

// pipes connects the command; the command's ends are the caller's to close.
func (p *program) pipes() (theirs []*os.File, err error) {
	var r, w *os.File
	defer func() {
		if err != nil {
			p.closePipes()
			for _, f := range theirs {
				f.Close()
			}
		}
	}()
	if r, w, err = os.Pipe(); err != nil {
		return theirs, err
	}
	p.cmd.Stdin, p.stdin, theirs = r, w, append(theirs, r)
	if r, w, err = os.Pipe(); err != nil {
		return theirs, err
	}
	p.cmd.Stdout, p.stdout, theirs = w, r, append(theirs, w)
	if r, w, err = os.Pipe(); err != nil {
		return theirs, err
	}
	p.cmd.Stderr, p.stderr, theirs = w, r, append(theirs, w)
	return theirs, nil
}

func (p *program) closePipes() {
	for _, f := range []*os.File{p.stdin, p.stdout, p.stderr} {
		if f != nil {
			f.Close()
		}
	}
}

// run starts the command and waits until it has ended and printed all. It keeps its
// thread: the kernel ends a child with the thread that started it (see ownGroup), so
// that none outlives a task host that is killed.
func (p *program) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	// A program that was just written may still be open for writing in a child that
	// another goroutine has forked and that has not yet begun its own.
	for try := 0; errors.Is(err, syscall.ETXTBSY) && try < 100; try++ {
		time.Sleep(10 * time.Millisecond)
		again := *p.cmd
		p.cmd = &exec.Cmd{Path: again.Path, Args: again.Args, Dir: again.Dir, Env: again.Env, SysProcAttr: again.SysProcAttr,
			Stdin: again.Stdin, Stdout: again.Stdout, Stderr: again.Stderr}
		err = p.cmd.Start()
	}
	started <- err
	if err != nil {
		return
	}
	defer close(p.exited)
	waiting := awaitExit(p.cmd.Process.Pid) // and leave its number taken
	if !waiting {
		p.exit = p.cmd.Wait()
	}
	// What the program has started may print until it ends too.
	<-p.printed
	p.mu.Lock()
	killGroup(p.cmd.Process)
	if waiting {
		p.exit = p.cmd.Wait()
	}
	p.reaped = true
	p.mu.Unlock()
	p.stderr.SetReadDeadline(time.Now().Add(lastStderr))
	<-p.complained
}

// strike kills the process group, while its number is its own.
func (p *program) strike() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		killGroup(p.cmd.Process)
	}
}

// endInput says that there are no more rows.
func (p *program) endInput() {
	if !p.ended {
		p.ended = true
		close(p.in)
	}
}

// write writes rows as lines until there are no more. A program that does not read
// them says by its exit status whether that is an error.
func (p *program) write() {
	defer p.stdin.Close()
	w := bufio.NewWriterSize(p.stdin, 64<<10)
	var err error
	for b := range p.in {
		if err == nil {
			if err = p.op.writeLines(w, b); err == nil {
				err = w.Flush()
			}
		}
		b.Release()
	}
}

func (op process) writeLines(w *bufio.Writer, b dataflow.Batch) error {
	cols := make([]*array.String, len(op.Columns))
	for i, c := range op.Columns {
		cols[i] = b.Column(c).(*array.String)
	}
	for row := range int(b.NumRows()) {
		cut := op.Cut
		for _, c := range cols {
			if c.IsNull(row) {
				continue
			}
			text := c.Value(row)
			if cut != nil {
				if before, after, found := strings.Cut(text, cut.At); found {
					w.WriteString(before)
					w.WriteString(cut.With)
					text, cut = after, nil
				}
			}
			w.WriteString(text)
		}
		if cut != nil {
			w.WriteString(cut.With)
		}
		if err := w.WriteByte('\n'); err != nil {
			return err
		}
	}
	return nil
}

// end waits for a program that has exited, and says what is wrong with how it did.
func (p *program) end() error {
	err := p.kill()
	switch {
	case p.readErr != nil:
		return errors.Join(p.readErr, err)
	case p.stderrErr != nil:
		return errors.Join(p.stderrErr, err)
	case p.exit != nil && !p.op.AnyExit:
		why := fmt.Errorf("it ended badly: %w, and said nothing on standard error", p.exit)
		if text := p.last.String(); text != "" {
			why = fmt.Errorf("it ended badly: %w; the last it said on standard error:\n%s", p.exit, text)
		}
		return errors.Join(p.failure(dataflow.Transient, why, ""), err)
	}
	return err
}

// kill ends the program, its process group and all that serves it, and removes its
// folder.
func (p *program) kill() error {
	close(p.stop)
	p.strike()
	p.endInput()
	p.stdin.Close() // whoever waits for one of them waits no longer
	p.stdout.Close()
	p.wg.Wait()
	p.stderr.Close()
	for b := range p.left() {
		b.Release()
	}
	p.mem.releaseAll()
	return os.RemoveAll(p.dir)
}

// left is what nobody took.
func (p *program) left() <-chan dataflow.Batch {
	if p.out == nil { // all was taken
		none := make(chan dataflow.Batch)
		close(none)
		return none
	}
	return p.out
}

func (p *program) failure(kind dataflow.Kind, err error, try string) error {
	e := &dataflow.Error{Op: "ops.process", Path: strings.Join(p.op.Command, " "), Kind: kind, Err: err, Try: try}
	if p.env.Task.Job != "" {
		e.Task = p.env.Task.String()
	}
	return e
}
