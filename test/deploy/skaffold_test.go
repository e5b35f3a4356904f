package deploy

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// skaffoldConfig is the part of skaffold's schema that skaffold.yaml uses.
type skaffoldConfig struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Build struct {
		Local struct {
			Push        *bool `json:"push"`
			UseBuildkit *bool `json:"useBuildkit"`
		} `json:"local"`
		TagPolicy struct {
			InputDigest *struct{} `json:"inputDigest"`
		} `json:"tagPolicy"`
		Artifacts []struct {
			Image  string `json:"image"`
			Docker struct {
				Dockerfile string `json:"dockerfile"`
				Target     string `json:"target"`
			} `json:"docker"`
			Sync struct {
				Manual []struct {
					Src   string `json:"src"`
					Dest  string `json:"dest"`
					Strip string `json:"strip"`
				} `json:"manual"`
			} `json:"sync"`
		} `json:"artifacts"`
	} `json:"build"`
	Manifests struct {
		Kustomize struct {
			Paths []string `json:"paths"`
		} `json:"kustomize"`
	} `json:"manifests"`
	Deploy struct {
		Kubectl *struct{} `json:"kubectl"`
	} `json:"deploy"`
	PortForward []struct {
		ResourceType string `json:"resourceType"`
		ResourceName string `json:"resourceName"`
		Port         int    `json:"port"`
		LocalPort    int    `json:"localPort"`
	} `json:"portForward"`
}

func TestSkaffoldBuildsAndDeploysWhatTheManifestsName(t *testing.T) {
	var config skaffoldConfig
	if err := yaml.UnmarshalStrict(read(t, filepath.Join(root, "skaffold.yaml")), &config); err != nil {
		t.Fatal(err)
	}
	if config.APIVersion != "skaffold/v4beta1" || config.Kind != "Config" || config.Deploy.Kubectl == nil {
		t.Errorf("skaffold.yaml is %s %s, want a Config of skaffold/v4beta1 that deploys with kubectl", config.APIVersion, config.Kind)
	}
	if push := config.Build.Local.Push; push == nil || *push {
		t.Error("images must stay in the cluster's own Docker: push: false")
	}
	m := load(t, "k8s")
	var images, wanted []string
	for _, artifact := range config.Build.Artifacts {
		images = append(images, artifact.Image)
		name := strings.TrimPrefix(artifact.Image, "miniblog/")
		if artifact.Docker.Dockerfile != name+"/Dockerfile" {
			t.Errorf("%s is built with %q, want %s/Dockerfile", artifact.Image, artifact.Docker.Dockerfile, name)
		}
		if target := artifact.Docker.Target; target != "" && !readProgram(t, name).stages[target] {
			t.Errorf("%s has no stage %q", artifact.Docker.Dockerfile, target)
		}
		for _, sync := range artifact.Sync.Manual {
			folder := strings.TrimSuffix(sync.Src, "**")
			if info, err := os.Stat(filepath.Join(root, folder)); err != nil || !info.IsDir() || sync.Strip != folder {
				t.Errorf("%s: %q is to be synced as %q without %q (%v)", artifact.Image, sync.Src, sync.Dest, sync.Strip, err)
			}
			dockerfile := string(read(t, filepath.Join(root, artifact.Docker.Dockerfile)))
			if !strings.Contains(dockerfile, "PAGE_DIR="+sync.Dest+"\n") || !strings.Contains(dockerfile, strings.TrimSuffix(folder, "/")+" "+sync.Dest+"\n") {
				t.Errorf("%s does not serve the page from %s", artifact.Docker.Dockerfile, sync.Dest)
			}
		}
	}
	for _, name := range names {
		_, container := m.deployment(t, name)
		image, _, _ := strings.Cut(container.Image, ":")
		wanted = append(wanted, image)
	}
	if slices.Sort(images); !slices.Equal(images, wanted) {
		t.Errorf("skaffold builds %q, the manifests run %q", images, wanted)
	}
	for _, forward := range config.PortForward {
		service := m.services[forward.ResourceName]
		if forward.ResourceType != "service" || service == nil || int(service.Spec.Ports[0].Port) != forward.Port || forward.LocalPort != forward.Port {
			t.Errorf("%+v forwards to no Service, or from another port than on a laptop", forward)
		}
	}
	if !slices.Equal(config.Manifests.Kustomize.Paths, []string{"infra/dev"}) {
		t.Errorf("skaffold deploys %q, want infra/dev", config.Manifests.Kustomize.Paths)
	}
}

// TestDevelopmentDiffersFromTheManifestsInOneField holds infra/dev to what it
// promises: infra/k8s, with a client that files can be copied into.
func TestDevelopmentDiffersFromTheManifestsInOneField(t *testing.T) {
	var overlay struct {
		APIVersion string   `json:"apiVersion"`
		Kind       string   `json:"kind"`
		Resources  []string `json:"resources"`
		Patches    []struct {
			Target struct {
				Kind string `json:"kind"`
				Name string `json:"name"`
			} `json:"target"`
			Patch string `json:"patch"`
		} `json:"patches"`
	}
	if err := yaml.UnmarshalStrict(read(t, filepath.Join(root, "infra/dev/kustomization.yaml")), &overlay); err != nil {
		t.Fatal(err)
	}
	if len(overlay.Resources) != 1 || !sameFolder(t, filepath.Join(root, "infra/dev", overlay.Resources[0]), filepath.Join(root, "infra/k8s")) || len(overlay.Patches) != 1 {
		t.Fatalf("infra/dev must be infra/k8s with one patch: %+v", overlay)
	}
	var operations []struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value any    `json:"value"`
	}
	patch := overlay.Patches[0]
	if err := yaml.UnmarshalStrict([]byte(patch.Patch), &operations); err != nil {
		t.Fatal(err)
	}
	const readOnly = "/spec/template/spec/containers/0/securityContext/readOnlyRootFilesystem"
	if patch.Target.Name != "client-depl" || len(operations) != 1 || operations[0].Op != "replace" || operations[0].Path != readOnly || operations[0].Value != false {
		t.Errorf("the patch of infra/dev is %+v", patch)
	}
}

// TestEveryImageHasTheSameTag holds together the places that name the tag.
func TestEveryImageHasTheSameTag(t *testing.T) {
	m := load(t, "k8s")
	script := string(read(t, filepath.Join(root, "infra/images.sh")))
	for _, name := range names {
		d, container := m.deployment(t, name)
		image, tag, _ := strings.Cut(container.Image, ":")
		if image != "miniblog/"+name || container.ImagePullPolicy != "IfNotPresent" {
			t.Errorf("%s runs %s, pulled %s: a cluster finds an image that was built into it only by its own name, IfNotPresent", name, container.Image, container.ImagePullPolicy)
		}
		if !strings.Contains(script, "\nversion="+tag+" ") {
			t.Errorf("infra/images.sh does not build %s", container.Image)
		}
		dockerfile := string(read(t, filepath.Join(root, name, "Dockerfile")))
		for _, line := range []string{"\nARG VERSION=" + tag + "\n", " -t " + container.Image + " .\n", "\nUSER " + userOf(*d.Spec.Template.Spec.SecurityContext.RunAsUser) + "\n"} {
			if !strings.Contains(dockerfile, line) {
				t.Errorf("%s/Dockerfile lacks %q", name, strings.TrimSpace(line))
			}
		}
		for _, object := range m.objects {
			if object.GetLabels()["app.kubernetes.io/version"] != tag {
				t.Fatalf("%s is labelled with version %q, its image with %q", object.GetName(), object.GetLabels()["app.kubernetes.io/version"], tag)
			}
		}
	}
}

func userOf(id int64) string {
	number := strconv.FormatInt(id, 10)
	return number + ":" + number
}
