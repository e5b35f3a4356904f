package console

import (
	"net/http"

	"miniblog/event-bus/cluster"
	"miniblog/internal/web"
)

// describeCluster answers with who takes part in the cluster. A bus that is alone
// has no copies to tell of.
func (c *console) describeCluster(w http.ResponseWriter, r *http.Request) error {
	members := cluster.Members{Copies: []cluster.Copy{}, Servers: []cluster.Server{}}
	if c.roster != nil {
		members = c.roster.Members(r.Context())
	}
	w.Header().Set("Cache-Control", "no-store")
	return web.WriteJSON(w, http.StatusOK, members)
}
