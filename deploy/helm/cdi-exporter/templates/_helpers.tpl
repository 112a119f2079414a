{{/* The name of the release, followed by the name of the chart unless it contains that. */}}
{{- define "cdi-exporter.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What the pods of all releases of this chart have: those of a pair. */}}
{{- define "cdi-exporter.commonLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "cdi-exporter.selectorLabels" -}}
{{ include "cdi-exporter.commonLabels" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "cdi-exporter.labels" -}}
{{ include "cdi-exporter.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "cdi-exporter.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "cdi-exporter.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "cdi-exporter.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* "true" if OpenShift sets the user and the groups of the pod. */}}
{{- define "cdi-exporter.openshift" -}}
{{- $set := toString .Values.openshift.enabled -}}
{{- if eq $set "auto" -}}
{{- .Capabilities.APIVersions.Has "security.openshift.io/v1" -}}
{{- else -}}
{{- $set -}}
{{- end -}}
{{- end -}}

{{/*
The security context of the pod, without keys that are set to null. Helm removes such keys from the
values of a chart, but not always from those of a dependency.
*/}}
{{- define "cdi-exporter.podSecurityContext" -}}
{{- $context := default dict .Values.podSecurityContext -}}
{{- if eq (include "cdi-exporter.openshift" .) "true" -}}
{{- $context = omit $context "runAsUser" "runAsGroup" "fsGroup" -}}
{{- end -}}
{{- range $key, $value := $context -}}
{{- if kindIs "invalid" $value -}}
{{- $context = omit $context $key -}}
{{- end -}}
{{- end -}}
{{- toYaml $context -}}
{{- end -}}

{{/* "true" if the replicas share a database. */}}
{{- define "cdi-exporter.database" -}}
{{- if or .Values.state.url .Values.state.existingSecret -}}true{{- end -}}
{{- end -}}

{{/* What is counted for the spread and the disruption budget: the replicas, or the releases of a pair. */}}
{{- define "cdi-exporter.counted" -}}
{{- if include "cdi-exporter.database" . -}}
{{- include "cdi-exporter.selectorLabels" . -}}
{{- else -}}
{{- include "cdi-exporter.commonLabels" . -}}
{{- end -}}
{{- end -}}

{{- define "cdi-exporter.replicas" -}}
{{- $default := 1 -}}
{{- if include "cdi-exporter.database" . -}}
{{- $default = 2 -}}
{{- end -}}
{{- default $default .Values.replicaCount -}}
{{- end -}}

{{/* Checks of values that depend on each other. */}}
{{- define "cdi-exporter.checked" -}}
{{- if not (or .Values.demo .Values.config .Values.braze.restEndpoint) -}}
{{- fail "nothing to watch: set braze.restEndpoint (with apiKeys.existingSecret), or config, or demo=true" -}}
{{- end -}}
{{- if and .Values.braze.restEndpoint (not .Values.config) (not .Values.demo) (not .Values.apiKeys.existingSecret) -}}
{{- fail "braze.restEndpoint needs apiKeys.existingSecret: a secret with the API key in the entry apiKeys.key" -}}
{{- end -}}
{{- if and .Values.demo (or .Values.config .Values.braze.restEndpoint) -}}
{{- fail "demo=true watches a simulated workspace only: unset braze.restEndpoint and config" -}}
{{- end -}}
{{- if and (gt (int (include "cdi-exporter.replicas" .)) 1) (not (include "cdi-exporter.database" .)) -}}
{{- fail (printf "replicaCount=%s needs a database that the replicas share: set state.url or state.existingSecret (docs/several-exporters.md)" (include "cdi-exporter.replicas" .)) -}}
{{- end -}}
{{- if and .Values.demo (include "cdi-exporter.database" .) -}}
{{- fail "demo=true keeps no counters: unset state.url and state.existingSecret" -}}
{{- end -}}
{{- if and .Values.state.ca.existingSecret (not (include "cdi-exporter.database" .)) -}}
{{- fail "state.ca is the authority of a database: set state.url or state.existingSecret" -}}
{{- end -}}
{{- if regexMatch "://[^/?#]*:[^/?#]*@|[?&]password=" .Values.state.url -}}
{{- fail "state.url: a password would be readable in the pod; put it into state.existingSecret" -}}
{{- end -}}
{{- range .Values.config.workspaces -}}
{{- if and (kindIs "map" .) (hasKey . "api_key") -}}
{{- fail (printf "config.workspaces: %s: an api_key would be readable in a config map; use api_key_file: /run/secrets/braze/ENTRY with apiKeys.existingSecret" .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
