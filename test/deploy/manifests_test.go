// Package deploy checks what the blog is deployed with: the manifests, the
// images, the ingress's routes, and that they agree with the programs.
//
// Its law: what Kubernetes, nginx, buildah or compose would refuse or
// misunderstand fails here first, without a cluster or a Docker engine.
package deploy

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// root is the repository's folder, seen from this package.
const root = "../.."

// names are the six services: each a folder, an image, a value of the label app.
var names = []string{"client", "comments", "event-bus", "moderation", "posts", "query"}

// manifests are the objects of some folders, by kind and then by name.
type manifests struct {
	deployments map[string]*appsv1.Deployment
	sets        map[string]*appsv1.StatefulSet
	services    map[string]*corev1.Service
	configMaps  map[string]*corev1.ConfigMap
	claims      map[string]*corev1.PersistentVolumeClaim
	ingresses   map[string]*networkingv1.Ingress
	policies    map[string]*networkingv1.NetworkPolicy
	budgets     map[string]*policyv1.PodDisruptionBudget
	autoscalers map[string]*autoscalingv2.HorizontalPodAutoscaler
	gateways    map[string]*gateway
	routes      map[string]*httpRoute
	pods        map[string]*corev1.Pod
	objects     []metav1.Object // all of them
}

// load decodes every manifest of the folders, which are relative to infra,
// strictly: an unknown or doubled field fails the test.
func load(t *testing.T, folders ...string) *manifests {
	t.Helper()
	m := newManifests()
	for _, folder := range folders {
		for _, path := range manifestFiles(t, folder) {
			for document := range bytes.SplitSeq(read(t, path), []byte("\n---\n")) {
				m.add(t, path, document)
			}
		}
	}
	return m
}

func newManifests() *manifests {
	return &manifests{
		deployments: map[string]*appsv1.Deployment{},
		sets:        map[string]*appsv1.StatefulSet{},
		services:    map[string]*corev1.Service{},
		configMaps:  map[string]*corev1.ConfigMap{},
		claims:      map[string]*corev1.PersistentVolumeClaim{},
		ingresses:   map[string]*networkingv1.Ingress{},
		policies:    map[string]*networkingv1.NetworkPolicy{},
		budgets:     map[string]*policyv1.PodDisruptionBudget{},
		autoscalers: map[string]*autoscalingv2.HorizontalPodAutoscaler{},
		gateways:    map[string]*gateway{},
		routes:      map[string]*httpRoute{},
		pods:        map[string]*corev1.Pod{},
	}
}

func (m *manifests) add(t *testing.T, path string, document []byte) {
	t.Helper()
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal(document, &kind); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	switch kind.APIVersion + " " + kind.Kind {
	case "apps/v1 Deployment":
		decode(t, m, path, document, m.deployments, &appsv1.Deployment{})
	case "apps/v1 StatefulSet":
		decode(t, m, path, document, m.sets, &appsv1.StatefulSet{})
	case "v1 Service":
		decode(t, m, path, document, m.services, &corev1.Service{})
	case "v1 Pod":
		decode(t, m, path, document, m.pods, &corev1.Pod{})
	case "v1 ConfigMap":
		decode(t, m, path, document, m.configMaps, &corev1.ConfigMap{})
	case "v1 PersistentVolumeClaim":
		decode(t, m, path, document, m.claims, &corev1.PersistentVolumeClaim{})
	case "networking.k8s.io/v1 Ingress":
		decode(t, m, path, document, m.ingresses, &networkingv1.Ingress{})
	case "networking.k8s.io/v1 NetworkPolicy":
		decode(t, m, path, document, m.policies, &networkingv1.NetworkPolicy{})
	case "policy/v1 PodDisruptionBudget":
		decode(t, m, path, document, m.budgets, &policyv1.PodDisruptionBudget{})
	case "autoscaling/v2 HorizontalPodAutoscaler":
		decode(t, m, path, document, m.autoscalers, &autoscalingv2.HorizontalPodAutoscaler{})
	case "gateway.networking.k8s.io/v1 Gateway":
		decode(t, m, path, document, m.gateways, &gateway{})
	case "gateway.networking.k8s.io/v1 HTTPRoute":
		decode(t, m, path, document, m.routes, &httpRoute{})
	default:
		t.Fatalf("%s holds %q %q, a kind that nothing here checks", path, kind.APIVersion, kind.Kind)
	}
}

func decode[T metav1.Object](t *testing.T, m *manifests, path string, document []byte, into map[string]T, object T) {
	t.Helper()
	if err := yaml.UnmarshalStrict(document, object); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	name := object.GetName()
	if _, twice := into[name]; twice || name == "" {
		t.Fatalf("%s: the name %q is missing or taken already", path, name)
	}
	into[name] = object
	m.objects = append(m.objects, object)
}

// manifestFiles returns what `kubectl apply -f` would read of a folder in infra.
func manifestFiles(t *testing.T, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "infra", folder, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests in infra/%s (%v)", folder, err)
	}
	return files
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// deployment returns the Deployment of a service and its only container.
func (m *manifests) deployment(t *testing.T, service string) (*appsv1.Deployment, *corev1.Container) {
	t.Helper()
	d := m.deployments[service+"-depl"]
	if d == nil || len(d.Spec.Template.Spec.Containers) != 1 {
		t.Fatalf("infra/k8s has no Deployment %s-depl with one container", service)
	}
	return d, &d.Spec.Template.Spec.Containers[0]
}

func TestEveryServiceHasTheObjectsOfTheCourse(t *testing.T) {
	m := load(t, "k8s")
	want := map[string]string{ // Service: whose pods
		"posts-clusterip-srv": "posts", "posts-srv": "posts", "comments-srv": "comments", "query-srv": "query",
		"moderation-srv": "moderation", "event-bus-srv": "event-bus", "client-srv": "client",
		"posts-snapshot-srv": "posts", "comments-snapshot-srv": "comments", "query-snapshot-srv": "query", // ours: new copies ask there
	}
	for name, app := range want {
		if s := m.services[name]; s == nil || s.Spec.Selector["app"] != app {
			t.Errorf("Service %s for app=%s is missing", name, app)
		}
		isNodePort := m.services[name].Spec.Type == corev1.ServiceTypeNodePort
		if isNodePort != (name == "posts-srv") {
			t.Errorf("Service %s has type %s", name, m.services[name].Spec.Type)
		}
	}
	if len(m.services) != len(want) || len(m.deployments) != len(names) {
		t.Errorf("%d Services and %d Deployments, want %d and %d", len(m.services), len(m.deployments), len(want), len(names))
	}
	for _, name := range names {
		d, container := m.deployment(t, name)
		if d.Labels["app"] != name || d.Spec.Template.Labels["app"] != name || container.Name != name {
			t.Errorf("%s-depl: its label app, its pods' label app and its container must be %q", name, name)
		}
		if m.services[serviceOf(name)] == nil {
			t.Errorf("%s has no Service %s", name, serviceOf(name))
		}
		file := string(read(t, filepath.Join(root, "infra/k8s", name+"-depl.yaml")))
		if !strings.Contains(file, "\nkind: Deployment\n") || !strings.Contains(file, "\n  name: "+serviceOf(name)+"\n") {
			t.Errorf("infra/k8s/%s-depl.yaml must hold both the Deployment and the Service", name)
		}
	}
	for _, object := range m.objects {
		for _, label := range []string{"app.kubernetes.io/part-of", "app.kubernetes.io/version"} {
			if object.GetLabels()[label] == "" {
				t.Errorf("%s has no label %s", object.GetName(), label)
			}
		}
		if object.GetNamespace() != "" {
			t.Errorf("%s names a namespace: that is for whoever applies it to choose", object.GetName())
		}
	}
}

// serviceOf returns the name of the ClusterIP Service of a service.
func serviceOf(name string) string {
	if name == "posts" {
		return "posts-clusterip-srv"
	}
	return name + "-srv"
}

func TestKustomizationListsEveryManifest(t *testing.T) {
	var kustomization struct {
		APIVersion string   `json:"apiVersion"`
		Kind       string   `json:"kind"`
		Resources  []string `json:"resources"`
	}
	if err := yaml.UnmarshalStrict(read(t, filepath.Join(root, "infra/k8s/Kustomization")), &kustomization); err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, path := range manifestFiles(t, "k8s") {
		files = append(files, filepath.Base(path))
	}
	if !slices.Equal(kustomization.Resources, files) {
		t.Errorf("the Kustomization lists\n%q, the folder holds\n%q", kustomization.Resources, files)
	}
	for _, pattern := range []string{"kustomization.y*ml", "*.yml", "*.json"} { // kubectl apply -f would read these too
		if found, err := filepath.Glob(filepath.Join(root, "infra/k8s", pattern)); err != nil || len(found) > 0 {
			t.Errorf("%q does not belong into infra/k8s (%v)", found, err)
		}
	}
}
