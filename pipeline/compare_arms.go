package pipeline

import (
	"fmt"
	"regexp"
	"strings"
)

// Arm is one way to pair images with noise, as settings laid over those that
// the arms have in common.
type Arm struct {
	Name     string   `json:"name"`
	Settings []string `json:"settings"` // as -set takes them
}

// ArmNames lists the arms that have a name.
func ArmNames() []string {
	return []string{"independent", "linear", "linear-class-blind", "knn-l2", "knn-dot", "centred", "whitened", "annealed"}
}

// armName is what a run's folder may be called.
var armName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

// ParseArm reads the name of an arm, or "name:key=value;key=value" for one of
// one's own: keys of the [noise] table, or of another as "table.key". steps is
// the length of the runs, over three quarters of which "annealed" falls to
// independent noise; conditioned tells whether labels condition the model, where
// pairing and centring go by class unless the arm says otherwise.
//
// The named ones are those of the papers (linear-class-blind: arXiv 2406.12303,
// §3; knn-l2: 2505.18521, with k = 8 of its Table 8) and what this program puts
// beside them (see [noise] in config.toml).
func ParseArm(text string, c Config, steps int) (Arm, error) {
	name, own, custom := strings.Cut(text, ":")
	if !armName.MatchString(name) {
		return Arm{}, fmt.Errorf("arm %q: want a name of letters, digits, - and _, or name:key=value;key=value", text)
	}
	if custom {
		a := Arm{Name: name}
		for _, set := range strings.Split(own, ";") {
			key, _, ok := strings.Cut(set, "=")
			if !ok {
				return a, fmt.Errorf("arm %q: %q, want key=value", name, set)
			}
			if !strings.Contains(key, ".") {
				set = "noise." + set
			}
			a.Settings = append(a.Settings, set)
		}
		return a, nil
	}
	conditioned := c.Data.NumClasses > 0
	center := "global"
	if conditioned {
		center = "class"
	}
	dim := c.Data.Channels * c.Data.Resolution * c.Data.Resolution
	knn := func(k, score, center string) map[string]string {
		return map[string]string{"pairing": "knn", "knn_k": k, "knn_score": score, "center": center}
	}
	var changes map[string]string
	switch name {
	case "independent":
		changes = map[string]string{"pairing": "independent"}
	case "linear":
		changes = map[string]string{"pairing": "linear", "per_class": fmt.Sprint(conditioned)}
	case "linear-class-blind":
		changes = map[string]string{"pairing": "linear"}
	case "knn-l2":
		changes = knn("8", "l2", "none")
	case "knn-dot":
		changes = knn("64", "dot", "none")
	case "centred":
		changes = knn("64", "dot", center)
	case "whitened":
		changes = knn("4096", "dot", center)
		changes["whiten"] = fmt.Sprint(min(128, dim/2))
	case "annealed":
		changes = knn("64", "dot", center)
		changes["anneal_steps"] = fmt.Sprint(max(1, 3*steps/4))
	default:
		return Arm{}, fmt.Errorf("arm %q, want one of %s, or name:key=value;key=value", name, strings.Join(ArmNames(), ", "))
	}
	// What an arm does not name is off, whatever the common settings say.
	a := Arm{Name: name}
	for _, key := range []struct{ name, off string }{
		{"pairing", ""}, {"per_class", "false"}, {"knn_k", "8"}, {"knn_score", "l2"}, {"center", "none"}, {"whiten", "0"},
		{"knn_k_end", "1"}, {"anneal_steps", "0"}, {"flip", "false"}, {"scale", "1.0"},
	} {
		value, ok := changes[key.name]
		if !ok {
			value = key.off
		}
		a.Settings = append(a.Settings, "noise."+key.name+"="+value)
	}
	return a, nil
}
