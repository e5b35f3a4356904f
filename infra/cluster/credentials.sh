#!/bin/sh
# Prints a new Secret for the NATS servers and the bus: the bus's key, its public half, and the
# password with which the servers know one another. Once for each cluster:
#   infra/cluster/credentials.sh | kubectl apply -f -
# To replace them do it again, then: kubectl delete pod --selector='app in (nats, event-bus)'
set -eu
cd "$(dirname "$0")/../.."
go run github.com/nats-io/nkeys/nk -gen user -pubout | {
	read -r seed
	read -r public
	cat <<-SECRET
		apiVersion: v1
		kind: Secret
		metadata:
		  name: nats-credentials
		  labels:
		    app.kubernetes.io/part-of: miniblog
		    app.kubernetes.io/version: 1.0.0
		stringData:
		  bus.nk: $seed
		  bus-nkey: $public
		  route-password: p$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
	SECRET
}
