// Statistics counts comments by status. It may join the blog at any time.
package main

import (
	"cmp"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"sync"
	"time"
)

func main() {
	var status sync.Map // of every comment, by its id
	http.HandleFunc("GET /statistics", func(w http.ResponseWriter, _ *http.Request) {
		counts := map[string]int{}
		status.Range(func(_, s any) bool { counts[s.(string)]++; return true })
		json.NewEncoder(w).Encode(counts)
	})
	go func() { log.Fatal(http.ListenAndServe(cmp.Or(os.Getenv("ADDR"), "localhost:4010"), nil)) }()
	bus := cmp.Or(os.Getenv("EVENT_BUS_URL"), "http://localhost:4005")
	for after := "0"; ; time.Sleep(100 * time.Millisecond) { // after the last event that was counted
		var events []struct {
			Sequence string
			Data     struct{ ID, Status string }
		}
		if page, err := http.Get(bus + "/events?type=CommentCreated,CommentUpdated&wait=30s&limit=10000&after=" + after); err == nil {
			json.NewDecoder(page.Body).Decode(&events) // of a page that was cut off there are none: it is asked for again
			page.Body.Close()
		}
		for _, e := range events {
			if after = e.Sequence; e.Data.Status != "" { // anybody may publish anything
				status.Store(e.Data.ID, e.Data.Status)
			}
		}
	}
}
