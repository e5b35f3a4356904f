package cluster

import (
	"encoding/json"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
)

// usage is what one pod used: memory as the kernel would count it before it
// kills, and processor time over the last seconds.
type usage struct {
	memory int64   // bytes
	cpu    float64 // cores
}

// measure asks the nodes what the pods use and keeps the most of each service.
func (b *blog) measure(t *testing.T) {
	t.Helper()
	if b.busiest == nil {
		b.busiest = map[string]usage{}
	}
	for _, service := range b.services {
		for _, pod := range b.pods(t, service) {
			if now, ok := b.use(t, pod); ok {
				most := b.busiest[service]
				b.busiest[service] = usage{max(most.memory, now.memory), max(most.cpu, now.cpu)}
			}
		}
	}
}

// use returns a pod's usage, if its node has measured it yet.
func (b *blog) use(t *testing.T, p pod) (usage, bool) {
	t.Helper()
	var summary struct {
		Pods []struct {
			PodRef struct{ UID string }
			CPU    struct{ UsageNanoCores float64 }
			Memory struct{ WorkingSetBytes int64 }
		}
	}
	out := b.run(t, "get", "--raw", "/api/v1/nodes/"+p.Spec.NodeName+"/proxy/stats/summary")
	if err := json.Unmarshal([]byte(out), &summary); err != nil {
		t.Fatal(err)
	}
	for _, found := range summary.Pods {
		if found.PodRef.UID == p.Metadata.UID && found.Memory.WorkingSetBytes > 0 {
			return usage{found.Memory.WorkingSetBytes, found.CPU.UsageNanoCores / 1e9}, true
		}
	}
	return usage{}, false
}

func (b *blog) resources(t *testing.T) {
	b.measure(t)
	t.Logf("%-12s %28s %28s", "", "memory: most/request/limit", "CPU: most/request/limit")
	for _, service := range b.services {
		pod := b.pods(t, service)[0]
		set := pod.Spec.Containers[0].Resources
		most, measured := b.busiest[service], b.busiest[service].memory > 0
		t.Logf("%-12s %8.1f MiB/%5s/%5s %14.3f/%5s/%5s", service, float64(most.memory)/(1<<20), set.Requests["memory"], set.Limits["memory"], most.cpu, set.Requests["cpu"], set.Limits["cpu"])
		limit := resource.MustParse(set.Limits["memory"])
		if !measured || most.memory > limit.Value()*9/10 {
			t.Errorf("%s used %d bytes of its %s: raise the limit", service, most.memory, set.Limits["memory"])
		}
		for _, status := range pod.Status.ContainerStatuses {
			if status.RestartCount > 0 {
				t.Errorf("%s was restarted %d times: %+v", pod.Metadata.Name, status.RestartCount, status.LastState)
			}
		}
	}
}
