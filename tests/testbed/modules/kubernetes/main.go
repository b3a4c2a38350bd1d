// Command kubernetes is the API server, the controller manager, the scheduler,
// the kubelet, kube-proxy and kubectl in one file. The name of the link through
// which it is started selects the program, as in busybox: six separate programs
// take 540 MB, this one takes 155 MB.
//
// The module files beside it pin one minor version of Kubernetes each. The source
// is the same for all of them.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	_ "time/tzdata" // time zones of CronJobs, on machines that have none

	"github.com/spf13/cobra"
	_ "k8s.io/client-go/plugin/pkg/client/auth"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// programs maps the name of a link to the constructor of its command.
var programs = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllermanager.NewControllerManagerCommand,
	"kube-proxy":              proxy.NewProxyCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kubelet":                 newKubelet,
	"kubectl":                 func() *cobra.Command { return kubectl.NewDefaultKubectlCommand() },
}

func main() {
	name := filepath.Base(os.Args[0])
	newCommand, known := programs[name]
	if !known {
		fmt.Fprintf(os.Stderr, "%s: start this program through a link named after a program of Kubernetes\n", name)
		os.Exit(2)
	}
	if name == "kubectl" {
		// kubectl reports errors by itself and chooses its own exit codes.
		if err := cli.RunNoErrOutput(newCommand()); err != nil {
			kubectlutil.CheckErr(err)
		}
		return
	}
	os.Exit(cli.Run(newCommand()))
}

// newKubelet returns the kubelet's command. Its constructor takes a context since
// Kubernetes 1.34.
func newKubelet() *cobra.Command {
	switch construct := any(kubelet.NewKubeletCommand).(type) {
	case func(context.Context) *cobra.Command:
		return construct(context.Background())
	case func() *cobra.Command:
		return construct()
	default:
		panic(fmt.Sprintf("unknown constructor of the kubelet's command: %T", construct))
	}
}
