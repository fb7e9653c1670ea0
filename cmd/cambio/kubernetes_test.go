package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// resources are the objects of kind in what kubectl apply -k would apply.
func resources(t *testing.T, kind string) (found []node) {
	t.Helper()
	for _, name := range documents(t, "deploy/kubernetes/kustomization.yaml")[0].at("resources").list() {
		for _, n := range documents(t, filepath.Join("deploy/kubernetes", name.value.(string))) {
			n.at("apiVersion")
			n.at("metadata", "name").want("cambio")
			if n.at("kind").value == kind {
				found = append(found, n)
			}
		}
	}
	return found
}

func resource(t *testing.T, kind string) node {
	t.Helper()
	found := resources(t, kind)
	if len(found) != 1 {
		t.Fatalf("there are %d of kind %s", len(found), kind)
	}
	return found[0]
}

func TestKubernetesProbesAndServesThePortsOfTheSettings(t *testing.T) {
	pod := resource(t, "Deployment").at("spec", "template", "spec")
	server := pod.at("containers", 0)
	vars := map[string]string{}
	for _, n := range server.at("env").list() {
		if value, ok := n.object()["value"].(string); ok {
			vars[n.at("name").value.(string)] = value
		}
	}
	cfg := settingsOf(t, ofImage(t), resource(t, "ConfigMap").at("data").variables(), vars)
	ports := map[string]string{}
	for _, n := range server.at("ports").list() {
		ports[n.at("name").value.(string)] = strings.TrimSpace(yamlOf(n.at("containerPort").value))
	}
	if ports["http"] != portOf(t, cfg.Listen) || ports["ops"] != portOf(t, cfg.OpsListen) {
		t.Errorf("ports are %v, and it listens at %s and %s", ports, cfg.Listen, cfg.OpsListen)
	}
	for probe, path := range map[string]string{"livenessProbe": "/livez", "readinessProbe": "/readyz"} {
		server.at(probe, "httpGet", "port").want("ops")
		server.at(probe, "httpGet", "path").want(path)
		healthPath(t, path)
	}
	resource(t, "Service").at("spec", "ports", 0, "targetPort").want("http")
	if !cfg.NoMigrate || len(pod.at("initContainers").list()) != 1 {
		t.Error("an init container is to migrate, and the server not to")
	}
	pod.at("initContainers", 0, "args").want([]string{"migrate"})
	pod.at("initContainers", 0, "image").want(server.at("image").value)
	mount := server.at("volumeMounts", 1)
	if path := mount.at("mountPath").value.(string) + "/" + pod.at("volumes", 1, "secret", "items", 0, "path").value.(string); path != cfg.MasterKeyFile {
		t.Errorf("the master key is at %s, and looked for at %s", path, cfg.MasterKeyFile)
	}
	mount.at("name").want(pod.at("volumes", 1, "name").value)
}

func TestKubernetesConfinesThePodsAndGivesThemTimeToStop(t *testing.T) {
	deployment := resource(t, "Deployment")
	pod := deployment.at("spec", "template", "spec")
	deployment.at("spec", "replicas").want(3)
	deployment.at("spec", "strategy", "rollingUpdate", "maxUnavailable").want(0)
	pod.at("automountServiceAccountToken").want(false)
	pod.at("securityContext", "runAsNonRoot").want(true)
	pod.at("securityContext", "seccompProfile", "type").want("RuntimeDefault")
	user := strings.Split(dockerfile(t, true, "USER")[0], ":")
	for i, field := range []string{"runAsUser", "runAsGroup"} {
		if got := strings.TrimSpace(yamlOf(pod.at("securityContext", field).value)); got != user[i] {
			t.Errorf("%s is %s, and the image's %s", field, got, user[i])
		}
	}
	pod.at("volumes", 1, "secret", "defaultMode").want(0o440)
	for _, c := range append(pod.at("initContainers").list(), pod.at("containers").list()...) {
		c.at("securityContext", "allowPrivilegeEscalation").want(false)
		c.at("securityContext", "readOnlyRootFilesystem").want(true)
		c.at("securityContext", "capabilities", "drop").want([]string{"ALL"})
		c.at("resources", "requests", "cpu")
		c.at("resources", "limits", "memory")
		if image := c.at("image").value.(string); !pinned.MatchString(image) {
			t.Errorf("%s may be any version", image)
		}
	}
	waits := pod.at("containers", 0, "lifecycle", "preStop", "sleep", "seconds").value.(int)
	if grace := pod.at("terminationGracePeriodSeconds").value.(int); time.Duration(grace-waits)*time.Second < longestStop {
		t.Errorf("a pod is given %d s to stop, of which it waits %d", grace, waits)
	}
	resource(t, "PodDisruptionBudget").at("spec", "minAvailable").want(2)
	labels := deployment.at("spec", "template", "metadata", "labels").value
	deployment.at("spec", "selector", "matchLabels").want(labels)
	pod.at("topologySpreadConstraints", 0, "labelSelector", "matchLabels").want(labels)
	resource(t, "Service").at("spec", "selector").want(labels)
	resource(t, "PodDisruptionBudget").at("spec", "selector", "matchLabels").want(labels)
	resource(t, "NetworkPolicy").at("spec", "podSelector", "matchLabels").want(labels)
}

func TestTheExampleOfASecretNamesAllAndHoldsNone(t *testing.T) {
	if n := len(resources(t, "Secret")); n > 0 {
		t.Errorf("%d would be applied", n)
	}
	secret := documents(t, "deploy/kubernetes/secret.example.yaml")[0].at("stringData").object()
	for name, value := range secret {
		if value != "" {
			t.Errorf("%s has a value", name)
		}
	}
	text, err := os.ReadFile("../../deploy/kubernetes/cambio.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`key: ([a-z-]+)`).FindAllSubmatch(text, -1) {
		if _, ok := secret[string(m[1])]; !ok {
			t.Errorf("the secret has no %s", m[1])
		}
	}
}
