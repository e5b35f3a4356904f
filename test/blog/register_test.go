package blog

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"miniblog/internal/event"
	"miniblog/test/harness"
)

// Each id of an event is a register: publishing it writes its place, once, and
// reading the log to its end reads it. What clients of all buses see must be what
// one of them could see who asks one log, one thing after the other: it is
// linearizable.

// registers is those clients and what they saw.
type registers struct {
	buses []*harness.Process
	began time.Time

	stored atomic.Int64 // publications that were answered

	mu      sync.Mutex
	history []porcupine.Operation
	blames  []string
}

// operation is what a client asks: publish the event with the id, or read.
type operation struct {
	id   string
	read bool
}

// outcome is what it was told: the event's place, 0 where there is none.
type outcome struct {
	unknown   bool // no answer, or 503: it may be stored
	at        event.Sequence
	duplicate bool
}

// place is the state of a register: 0, the place of the event, or somewhere.
type place uint64

const somewhere = ^place(0)

var register = porcupine.Model{
	Partition: func(history []porcupine.Operation) (parts [][]porcupine.Operation) {
		byID := map[string][]porcupine.Operation{}
		for _, o := range history {
			id := o.Input.(operation).id
			byID[id] = append(byID[id], o)
		}
		for _, part := range byID {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return place(0) },
	Step: func(state, input, output any) (bool, any) {
		now, in, out := state.(place), input.(operation), output.(outcome)
		told := place(out.at)
		switch {
		case out.unknown && now == 0:
			return true, somewhere
		case out.unknown:
			return true, now
		case now == 0 && in.read:
			return told == 0, now
		case now == 0:
			return !out.duplicate, told
		case !in.read && !out.duplicate:
			return false, now // it was stored before
		case now == somewhere:
			return told != 0, told
		}
		return told == now, now
	},
}

func (r *registers) since() int64 { return int64(time.Since(r.began)) }

// note adds an operation that was begun at a time.
func (r *registers) note(client int, in operation, begun int64, out outcome) {
	o := porcupine.Operation{ClientId: client, Input: in, Call: begun, Output: out, Return: r.since()}
	if !in.read && !out.unknown {
		r.stored.Add(1)
	}
	if out.unknown {
		o.Return = 1 << 62 // it may come into effect at any time
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history = append(r.history, o)
}

func (r *registers) blame(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.blames) < 20 {
		r.blames = append(r.blames, fmt.Sprintf(format, args...))
	}
}

func (r *registers) any() string { return r.buses[rand.IntN(len(r.buses))].URL }

// client publishes and reads until ctx ends. A few clients use the same ids at
// about the same time.
func (r *registers) client(ctx context.Context, number int) {
	known := reader{ids: map[string]event.Sequence{}}
	for ctx.Err() == nil {
		id := fmt.Sprintf("register-%d-%d", r.since()/int64(200*time.Millisecond), rand.IntN(3))
		begun := r.since()
		if rand.IntN(2) == 0 {
			r.note(number, operation{id: id}, begun, publishOnce(ctx, r.any(), id))
		} else if err := known.readToEnd(ctx, r.any()); err == nil {
			r.note(number, operation{id: id, read: true}, begun, outcome{at: known.ids[id]})
		} else if strings.HasPrefix(err.Error(), "wrong: ") {
			r.blame("%v", err)
		}
		pauseFor(ctx, 5*time.Millisecond)
	}
}

// patience is how long a client waits for an answer: longer than a bus takes at
// most.
const patience = 6 * time.Second

// publishOnce asks a bus to store the event with that id.
func publishOnce(ctx context.Context, url, id string) outcome {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	answer, err := harness.Send(ctx, http.MethodPost, url+"/events", fmt.Sprintf(`{"id":%q,"type":"Register","data":{}}`, id), "Content-Type", "application/json")
	if err != nil || answer.Status != http.StatusOK {
		return outcome{unknown: true}
	}
	var receipt struct {
		Sequence  event.Sequence `json:"sequence"`
		Duplicate bool           `json:"duplicate"`
	}
	if json.Unmarshal(answer.Body, &receipt) != nil {
		return outcome{unknown: true}
	}
	return outcome{at: receipt.Sequence, duplicate: receipt.Duplicate}
}

// reader knows the places of all ids up to an event.
type reader struct {
	last event.Sequence
	ids  map[string]event.Sequence
}

// beyond is after the end of any log: who asks for that is told the whole log's
// end, or nothing.
const beyond = 1 << 50

// readToEnd reads what is new, to the end of the log.
func (k *reader) readToEnd(ctx context.Context, url string) error {
	answer, err := fetch(ctx, fmt.Sprintf("%s/events?after=%d", url, uint64(beyond)))
	if err != nil {
		return err
	}
	end, err := event.ParseSequence(answer.Header.Get("Event-Sequence-Last"))
	if err != nil || len(answer.Body) > 0 {
		return fmt.Errorf("wrong: beyond the end it answered %q, %v", answer.Body, err)
	}
	if answer, err = fetch(ctx, fmt.Sprintf("%s/events?after=%d", url, k.last)); err != nil {
		return err
	}
	for line := range strings.Lines(string(answer.Body)) {
		if err := k.take(line); err != nil {
			return err
		}
	}
	if k.last < end {
		return fmt.Errorf("the bus was started again, and gives events up to %d of %d", k.last, end)
	}
	return nil
}

// take notes the event that comes next.
func (k *reader) take(line string) error {
	var e struct {
		ID       string         `json:"id"`
		Sequence event.Sequence `json:"sequence"`
	}
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		return err // it was cut off
	}
	if e.Sequence != k.last+1 {
		return fmt.Errorf("wrong: event %d came after %d", e.Sequence, k.last)
	}
	k.last, k.ids[e.ID] = e.Sequence, e.Sequence
	return nil
}

func fetch(ctx context.Context, url string) (*harness.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := harness.Send(ctx, http.MethodGet, url, "", "Accept", "application/x-ndjson")
	if err == nil && answer.Status != http.StatusOK {
		err = &harness.Refusal{Answer: answer}
	}
	return answer, err
}

// stream follows the log with server-sent events, at one bus after the other. No
// event may be missing, and no bus may say that the log is another one.
func (r *registers) stream(ctx context.Context) (k reader) {
	k.ids = map[string]event.Sequence{}
	for ctx.Err() == nil {
		if err := r.streamOnce(ctx, &k, r.any()); err != nil && strings.HasPrefix(err.Error(), "wrong: ") {
			r.blame("a stream: %v", err)
			return k
		}
		pauseFor(ctx, 20*time.Millisecond)
	}
	return k
}

func (r *registers) streamOnce(ctx context.Context, k *reader, url string) error {
	ctx, cancel := context.WithTimeout(ctx, rand.N(1500*time.Millisecond))
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/events", nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "text/event-stream")
	request.Header.Set("Last-Event-ID", fmt.Sprintf("%020d", k.last))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusConflict {
		return fmt.Errorf("wrong: after event %d a bus said that this is another history", k.last)
	}
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if line, ok := strings.CutPrefix(lines.Text(), "data: "); ok && response.StatusCode == http.StatusOK {
			if err := k.take(line); err != nil {
				return err
			}
		}
	}
	return nil
}

// batches publishes batches of three, each again until it is stored, and returns
// where each was.
func (r *registers) batches(ctx context.Context, name string) map[string]event.Sequence {
	stored := map[string]event.Sequence{}
	for n := 0; ctx.Err() == nil; n++ {
		id := fmt.Sprintf("batch-%s-%d", name, n)
		body := fmt.Sprintf(`[{"id":"%s/1","type":"Batch","data":{}},{"id":"%s/2","type":"Batch","data":{}},{"id":"%s/3","type":"Batch","data":{}}]`, id, id, id)
		for ctx.Err() == nil {
			attempt, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
			answer, err := harness.Send(attempt, http.MethodPost, r.any()+"/events", body, "Content-Type", "application/cloudevents-batch+json")
			cancel()
			var receipt struct {
				First event.Sequence `json:"first"`
			}
			if err == nil && answer.Status == http.StatusOK && json.Unmarshal(answer.Body, &receipt) == nil {
				stored[id] = receipt.First
				break
			}
		}
		pauseFor(ctx, 20*time.Millisecond)
	}
	return stored
}

// mustBeLinearizable checks the history, and what was blamed on the way.
func (r *registers) mustBeLinearizable(t *testing.T) {
	t.Helper()
	for _, blame := range r.blames {
		t.Error(blame)
	}
	reads, stored, unknown := 0, 0, 0
	for _, o := range r.history {
		switch out := o.Output.(outcome); {
		case out.unknown:
			unknown++
		case o.Input.(operation).read:
			reads++
		default:
			stored++
		}
	}
	t.Logf("registers: %d publications were answered, %d were not, %d reads", stored, unknown, reads)
	if reads == 0 || stored == 0 {
		t.Error("that shows nothing")
	}
	for _, part := range register.Partition(r.history) {
		if result := porcupine.CheckOperationsTimeout(register, part, time.Minute); result != porcupine.Ok {
			t.Errorf("the history of the event %s is not linearizable: %s", part[0].Input.(operation).id, result)
			for _, o := range part {
				t.Logf("client %d, %v to %v: %+v gave %+v", o.ClientId, time.Duration(o.Call), time.Duration(o.Return), o.Input, o.Output)
			}
		}
	}
}

func pauseFor(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func TestHistoriesThatOneLogCannotHaveAreNoticed(t *testing.T) {
	published := func(at event.Sequence, duplicate bool) outcome { return outcome{at: at, duplicate: duplicate} }
	for name, test := range map[string]struct {
		first, second outcome // one after the other; the second is a read if it is no publication
		read          bool
		want          porcupine.CheckResult
	}{
		"published and read":         {published(7, false), outcome{at: 7}, true, porcupine.Ok},
		"published twice":            {published(7, false), published(7, true), false, porcupine.Ok},
		"no answer and read":         {outcome{unknown: true}, outcome{at: 7}, true, porcupine.Ok},
		"no answer and not there":    {outcome{unknown: true}, outcome{}, true, porcupine.Ok},
		"stored and not read":        {published(7, false), outcome{}, true, porcupine.Illegal},
		"read elsewhere":             {published(7, false), outcome{at: 8}, true, porcupine.Illegal},
		"stored twice":               {published(7, false), published(8, false), false, porcupine.Illegal},
		"a duplicate of nothing":     {published(7, true), published(7, true), false, porcupine.Illegal},
		"a duplicate somewhere else": {published(7, false), published(8, true), false, porcupine.Illegal},
		"new to both":                {published(7, false), published(7, false), false, porcupine.Illegal},
	} {
		r := &registers{began: time.Now()}
		r.note(0, operation{id: "x"}, r.since(), test.first)
		r.note(1, operation{id: "x", read: test.read}, r.since(), test.second)
		if got := porcupine.CheckOperationsTimeout(register, r.history, time.Minute); got != test.want {
			t.Errorf("%s is %s, not %s", name, got, test.want)
		}
	}
}
