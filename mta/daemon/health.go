package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// healthTime bounds the checks of one /healthz: a disk that hangs is not well either.
const healthTime = 5 * time.Second

// check is one thing that has to be well. Its slot is taken while it runs, so that checks that hang do not pile up.
type check struct {
	name string
	do   func() error
	slot chan struct{}
}

// OnHealth adds what /healthz asks while the daemon does its work: do says, soon, why that is not so. The text is for
// whoever may read the metrics. It is for the run function, before ServeMetrics; one call of do at a time is made.
func (a *App) OnHealth(name string, do func() error) {
	a.checks = append(a.checks, &check{name, do, make(chan struct{}, 1)})
}

// wellness asks all checks, and returns what is wrong, in one line.
func (a *App) wellness(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	var bad []string
	for _, c := range a.checks {
		if err := c.run(ctx); err != nil {
			bad = append(bad, c.name+": "+strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	}
	if len(bad) == 0 {
		return nil
	}
	return errors.New(strings.Join(bad, "; "))
}

func (c *check) run(ctx context.Context) error {
	select {
	case c.slot <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("no answer within %s", healthTime)
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-c.slot }()
		done <- c.do()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("no answer within %s", healthTime)
	}
}

// Writable says why no file can be written in a folder, by writing one.
func Writable(dir string) error {
	f, err := os.CreateTemp(dir, "health-")
	if err != nil {
		return err
	}
	_, err = f.WriteString("well\n")
	err = errors.Join(err, f.Close(), os.Remove(f.Name()))
	return err
}
