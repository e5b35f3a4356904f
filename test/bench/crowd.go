package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"miniblog/internal/wire"
)

// crowds measures how publishing changes with connections and with followers,
// and prints a table of each.
func (b *bench) crowds(ctx context.Context, o options, out io.Writer) error {
	bus, err := b.start(ctx, "event-bus", "crowds", noSubscribers(b.dir))
	if err != nil {
		return err
	}
	fmt.Fprint(out, "\n| connections that publish | events/s | p50 | p99 | of bare |\n|---:|---:|---:|---:|---:|\n")
	for _, connections := range []int{1, 4, 16, 64, 256, 1024} {
		got, bare, err := b.beside(ctx, singles(bus, unwanted, connections, o.length))
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "| %d | %.0f | %v | %v | %.2f |\n", connections, got.perSecond(), got.at(.5).Round(10*time.Microsecond), got.at(.99).Round(10*time.Microsecond), got.perSecond()/bare.perSecond())
	}
	fmt.Fprint(out, "\n| followers | of other types: events/s | of all types: events/s |\n|---:|---:|---:|\n")
	for _, followers := range []int{0, 1, 4, 16, 64} {
		var rates []any
		for _, types := range []string{"PostCreated", ""} {
			rate, err := followed(ctx, bus, followers, types, o)
			if err != nil {
				return fmt.Errorf("%d followers: %w", followers, err)
			}
			rates = append(rates, rate)
		}
		fmt.Fprintf(out, "| %d | %.0f | %.0f |\n", append([]any{followers}, rates...)...)
	}
	return nil
}

// followed returns how many unwanted events a second 64 connections publish
// while followers of those types follow.
func followed(ctx context.Context, bus *process, followers int, types string, o options) (float64, error) {
	ctx, leave := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer leave()
	ends := make(chan error, followers)
	for range followers {
		answer, err := followTypes(ctx, bus.addr, types)
		if err != nil {
			return 0, err
		}
		all.Go(func() {
			defer answer.Close()
			_, err := io.Copy(io.Discard, answer)
			ends <- errors.Join(errors.New("the bus ended a follower's answer"), err)
		})
	}
	got, err := singles(bus, unwanted, 64, o.length).run(ctx)
	select {
	case end := <-ends:
		err = errors.Join(err, end)
	default:
	}
	return got.perSecond(), err
}

// followTypes follows a bus from its end, as the services do.
func followTypes(ctx context.Context, addr, types string) (io.ReadCloser, error) {
	last, err := lastSequence(ctx, addr)
	if err != nil {
		return nil, err
	}
	url := fmt.Sprintf("http://%s/events?%s=%s&%s=1s&%s=%s", addr, wire.After, last, wire.Follow, wire.Types, types)
	answer, err := get(ctx, url)
	if err != nil {
		return nil, err
	}
	return answer.Body, nil
}

func lastSequence(ctx context.Context, addr string) (string, error) {
	answer, err := get(ctx, "http://"+addr+"/events?"+wire.Limit+"=1")
	if err != nil {
		return "", err
	}
	return answer.Header.Get(wire.LastHeader), answer.Body.Close()
}

// get asks for lines. An answer other than 200 is an error.
func get(ctx context.Context, url string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", wire.Lines)
	answer, err := http.DefaultClient.Do(request)
	if err == nil && answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		err = fmt.Errorf("GET %s: %s", url, answer.Status)
	}
	return answer, err
}
