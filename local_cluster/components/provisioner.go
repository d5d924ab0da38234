package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

const (
	provisionerName = "local-cluster/volumes"
	sharedParameter = "shared"
)

// volumes provisions "local" PersistentVolumes: folders below a directory that
// every node of the local cluster sees at the same path.
//
// A volume belongs to the node of its first pod, as a disk would; where the
// storage class says shared: "true" every node may use it, as with NFS.
// "local" rather than "hostPath", because the kubelet then applies fsGroup.
type volumes struct {
	directory string
}

func (v volumes) Provision(
	_ context.Context, options controller.ProvisionOptions,
) (*core.PersistentVolume, controller.ProvisioningState, error) {
	owner, label := options.SelectedNodeName, core.LabelHostname
	affinity := options.SelectedNodeName
	if options.StorageClass.Parameters[sharedParameter] == "true" {
		owner, label, affinity = sharedParameter, core.LabelOSStable, "linux"
	}
	if owner == "" {
		return nil, controller.ProvisioningFinished, errors.New(
			"expected a selected node; the storage class needs volumeBindingMode WaitForFirstConsumer")
	}
	path := filepath.Join(v.directory, owner, options.PVName)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, controller.ProvisioningFinished, fmt.Errorf("make the volume's folder: %w", err)
	}
	return buildVolume(options, path, label, affinity), controller.ProvisioningFinished, nil
}

func (v volumes) Delete(_ context.Context, volume *core.PersistentVolume) error {
	err := os.RemoveAll(volume.Spec.Local.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func buildVolume(
	options controller.ProvisionOptions, path, label, value string,
) *core.PersistentVolume {
	return &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: options.PVName},
		Spec: core.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *options.StorageClass.ReclaimPolicy,
			AccessModes:                   options.PVC.Spec.AccessModes,
			VolumeMode:                    options.PVC.Spec.VolumeMode,
			Capacity: core.ResourceList{
				core.ResourceStorage: options.PVC.Spec.Resources.Requests[core.ResourceStorage],
			},
			PersistentVolumeSource: core.PersistentVolumeSource{
				Local: &core.LocalVolumeSource{Path: path},
			},
			NodeAffinity: &core.VolumeNodeAffinity{Required: &core.NodeSelector{
				NodeSelectorTerms: []core.NodeSelectorTerm{{
					MatchExpressions: []core.NodeSelectorRequirement{{
						Key: label, Operator: core.NodeSelectorOpIn, Values: []string{value},
					}},
				}},
			}},
		},
	}
}

// runProvisioner serves the cluster's storage classes until it is told to end.
func runProvisioner() int {
	flags := flag.NewFlagSet("provisioner", flag.ExitOnError)
	directory := flags.String("directory", "", "folder that holds the volumes")
	kubeconfig := flags.String("kubeconfig", "", "how to reach the cluster")
	_ = flags.Parse(os.Args[1:])

	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		fmt.Fprintln(os.Stderr, "provisioner:", err)
		return 1
	}
	ctx := genericapiserver.SetupSignalContext()
	controller.NewProvisionController(
		ctx, kubernetes.NewForConfigOrDie(config), provisionerName, volumes{*directory},
		controller.LeaderElection(false),
	).Run(ctx)
	return 0
}
