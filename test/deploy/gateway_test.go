package deploy

import (
	"cmp"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// gateway and httpRoute are the part of the Gateway API that every controller
// knows, and the request timeout: what is not here must not be used.
type gateway struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		GatewayClassName string `json:"gatewayClassName"`
		Listeners        []struct {
			Name     string `json:"name"`
			Protocol string `json:"protocol"`
			Port     int    `json:"port"`
			Hostname string `json:"hostname"`
		} `json:"listeners"`
	} `json:"spec"`
}

type httpRoute struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		ParentRefs []struct {
			Name string `json:"name"`
		} `json:"parentRefs"`
		Hostnames []string    `json:"hostnames"`
		Rules     []routeRule `json:"rules"`
	} `json:"spec"`
}

type routeRule struct {
	Matches []struct {
		Path struct {
			Type  string `json:"type"`
			Value string `json:"value"`
		} `json:"path"`
	} `json:"matches"`
	Timeouts *struct {
		Request string `json:"request"`
	} `json:"timeouts,omitempty"`
	BackendRefs []struct {
		Name string `json:"name"`
		Port int32  `json:"port"`
	} `json:"backendRefs"`
}

// route is where a host's requests go, in the Ingress or in the Gateway.
type route struct {
	exact   bool
	value   string
	service string
	port    int32
}

func ingressPaths(t *testing.T, m *manifests) []route {
	t.Helper()
	var routes []route
	for _, ingress := range m.ingresses {
		for _, rule := range ingress.Spec.Rules {
			for _, p := range rule.HTTP.Paths {
				routes = append(routes, route{*p.PathType == "Exact", p.Path, p.Backend.Service.Name, p.Backend.Service.Port.Number})
			}
		}
	}
	return sorted(routes)
}

func gatewayPaths(t *testing.T, m *manifests) []route {
	t.Helper()
	var routes []route
	for name, r := range m.routes {
		for _, rule := range r.Spec.Rules {
			if len(rule.BackendRefs) != 1 {
				t.Fatalf("HTTPRoute %s: a rule has %d backends, want one", name, len(rule.BackendRefs))
			}
			for _, match := range rule.Matches {
				if match.Path.Type != "Exact" && match.Path.Type != "PathPrefix" {
					t.Errorf("HTTPRoute %s: the path type %q is not one that every controller knows", name, match.Path.Type)
				}
				routes = append(routes, route{match.Path.Type == "Exact", match.Path.Value, rule.BackendRefs[0].Name, rule.BackendRefs[0].Port})
			}
		}
	}
	return sorted(routes)
}

func sorted(routes []route) []route {
	slices.SortFunc(routes, func(a, b route) int {
		return cmp.Or(cmp.Compare(a.value, b.value), cmp.Compare(a.service, b.service))
	})
	return routes
}

func TestGatewayHasTheRoutesOfTheIngress(t *testing.T) {
	m := load(t, "k8s", "gateway")
	got, want := gatewayPaths(t, m), ingressPaths(t, m)
	if !slices.Equal(got, want) {
		t.Errorf("the gateway's routes are\n%v, the ingress's\n%v", got, want)
	}
	for _, r := range want {
		if s := m.services[r.service]; s == nil || s.Spec.Ports[0].Port != r.port {
			t.Errorf("%s leads to %s:%d, which is not there", r.value, r.service, r.port)
		}
	}
	g := m.gateways["miniblog"]
	if g == nil || g.Spec.GatewayClassName == "" || len(g.Spec.Listeners) != 1 || g.Spec.Listeners[0].Hostname != "posts.com" {
		t.Fatalf("the Gateway miniblog needs a class and one listener for posts.com: %+v", g)
	}
	for name, r := range m.routes {
		if len(r.Spec.ParentRefs) != 1 || r.Spec.ParentRefs[0].Name != g.Name || !slices.Equal(r.Spec.Hostnames, []string{"posts.com"}) {
			t.Errorf("HTTPRoute %s must hang on the Gateway %s, for posts.com", name, g.Name)
		}
		for _, rule := range r.Spec.Rules {
			live := len(rule.Matches) == 1 && rule.Matches[0].Path.Value == "/posts/live"
			if unlimited := rule.Timeouts != nil && rule.Timeouts.Request == "0s"; unlimited != live {
				t.Errorf("HTTPRoute %s: only the live stream, and that for certain, has no time limit: %+v", name, rule)
			}
			if live && len(r.Spec.Rules) != 1 {
				t.Errorf("HTTPRoute %s: the live stream needs a route of its own, as not every controller takes its timeout", name)
			}
		}
	}
}
