{{/*
The MailPushConfig from the page's block and mailPushConfig.spec.
*/}}

{{/* Its name. A key whose children are all commented out is null in YAML: that counts as left out, here and below. */}}
{{- define "mail-push.configName" -}}
{{- default "main" (default dict .Values.mailPushConfig).name -}}
{{- end -}}

{{/* Refuses secrets among the properties: the ConfigMap of the Job, and every listener's, would show them. */}}
{{- define "mail-push.checkProperties" -}}
{{- $secret := dict
    "com.openexchange.mail.masterPassword" "mailAccess.masterPasswordSecretRef"
    "com.openexchange.push.credstorage.passcrypt" "credentialStorage.passcryptSecretRef"
    "com.openexchange.dovecot.doveadm.apiSecret" "mailAccess.doveadm.apiSecretRef"
    "com.openexchange.rest.services.basic-auth.login" "callback.authSecretRef"
    "com.openexchange.rest.services.basic-auth.password" "callback.authSecretRef" -}}
{{- range $key, $field := $secret -}}
{{- if hasKey $ $key -}}
{{- fail (printf "mailPushConfig.spec.properties must not hold %s, which is a secret: use mailPushConfig.spec.%s" $key $field) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Refuses whatever is not a map of names to enabled or disabled. Arguments: status, path. */}}
{{- define "mail-push.checkToggles" -}}
{{- $path := .path -}}
{{- if not (kindIs "map" .status) -}}
{{- fail (printf "%s must be a map of names to enabled or disabled, not %q" $path (toString .status)) -}}
{{- end -}}
{{- range $name, $value := .status -}}
{{- if not (and (kindIs "string" $value) (has $value (list "enabled" "disabled"))) -}}
{{- $given := toString $value -}}
{{- if kindIs "invalid" $value -}}{{- $given = "null" -}}{{- end -}}
{{- fail (printf "%s.%s is %q: set it to enabled or disabled" $path $name $given) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Whatever stands at root.keys..., or an empty map. Arguments: root, keys, path. */}}
{{- define "mail-push.valueAt" -}}
{{- $here := default dict .root -}}
{{- $path := .path -}}
{{- range .keys -}}
{{- if not (kindIs "map" $here) -}}
{{- fail (printf "%s: %q stands where a map is expected" $path (toString $here)) -}}
{{- end -}}
{{- $next := index $here . -}}
{{- if kindIs "invalid" $next -}}{{- $next = dict -}}{{- end -}}
{{- $here = $next -}}
{{- end -}}
{{- dict "value" $here | toJson -}}
{{- end -}}

{{/* The page's block of one kind (packages or features) as a JSON map. Arguments: root context, kind. */}}
{{- define "mail-push.pageBlock" -}}
{{- $found := dict -}}
{{- $from := "" -}}
{{- $kind := .kind -}}
{{- range $place := include "mail-push.coreMws" .context | fromJsonArray -}}
{{- $path := printf "%s.%s.status" $place.path $kind -}}
{{- $here := (include "mail-push.valueAt" (dict "root" $place.value "keys" (list $kind "status") "path" $path) | fromJson).value -}}
{{- include "mail-push.checkToggles" (dict "status" $here "path" $path) -}}
{{- if $here -}}
{{- if and $found (ne (toJson $found) (toJson $here)) -}}
{{- fail (printf "%s and %s differ: keep one of them, or make them the same" $from $path) -}}
{{- end -}}
{{- $found = $here -}}
{{- $from = $path -}}
{{- end -}}
{{- end -}}
{{- $found | toJson -}}
{{- end -}}

{{/* The page's block and the spec's own map of one kind together, as a JSON map. Arguments: root context, kind. */}}
{{- define "mail-push.toggles" -}}
{{- $page := include "mail-push.pageBlock" . | fromJson -}}
{{- $path := printf "mailPushConfig.spec.%s.status" .kind -}}
{{- $own := (include "mail-push.valueAt" (dict "root" (default dict .context.Values.mailPushConfig).spec "keys" (list .kind "status") "path" $path) | fromJson).value -}}
{{- include "mail-push.checkToggles" (dict "status" $own "path" $path) -}}
{{- $kind := .kind -}}
{{- range $name, $value := $own -}}
{{- if and (hasKey $page $name) (ne (get $page $name) $value) -}}
{{- fail (printf "%s.%s is %s, but core-mw.%s.status.%s is %s: keep one of them, or make them the same" $path $name $value $kind $name (get $page $name)) -}}
{{- end -}}
{{- end -}}
{{- merge (dict) $own $page | toJson -}}
{{- end -}}

{{/* packages.whitelist of the page's block or of the spec, as a JSON list. Argument: root context. */}}
{{- define "mail-push.whitelist" -}}
{{- $found := list -}}
{{- $from := "" -}}
{{- range $place := list
    (dict "root" .Values "keys" (list "core-mw" "packages" "whitelist"))
    (dict "root" .Values "keys" (list "appsuite" "core-mw" "packages" "whitelist"))
    (dict "root" .Values "keys" (list "global" "appsuite" "core-mw" "packages" "whitelist"))
    (dict "root" .Values "keys" (list "mailPushConfig" "spec" "packages" "whitelist")) -}}
{{- $path := join "." $place.keys -}}
{{- $here := (include "mail-push.valueAt" (merge $place (dict "path" $path)) | fromJson).value -}}
{{- if $here -}}
{{- if not (kindIs "slice" $here) -}}
{{- fail (printf "%s must be a list of packages, not %q" $path (toString $here)) -}}
{{- end -}}
{{- if and $found (ne (toJson $found) (toJson $here)) -}}
{{- fail (printf "%s and %s differ: keep one of them, or make them the same" $from $path) -}}
{{- end -}}
{{- $found = $here -}}
{{- $from = $path -}}
{{- end -}}
{{- end -}}
{{- $found | toJson -}}
{{- end -}}

{{/* "true" where a MailPushConfig is to be applied, else nothing: where a push package is named, or a spec is given. */}}
{{- define "mail-push.createConfig" -}}
{{- include "mail-push.checkSpelling" . -}}
{{- $named := dict -}}
{{- range $name, $_ := include "mail-push.toggles" (dict "context" . "kind" "packages") | fromJson -}}
{{- if hasPrefix "open-xchange-push-" $name -}}{{- $_ := set $named $name true -}}{{- end -}}
{{- end -}}
{{- range include "mail-push.whitelist" . | fromJsonArray -}}
{{- if hasPrefix "open-xchange-push-" (toString .) -}}{{- $_ := set $named (toString .) true -}}{{- end -}}
{{- end -}}
{{- include "mail-push.checkRoles" (dict "context" . "named" $named) -}}
{{- $_ := include "mail-push.toggles" (dict "context" . "kind" "features") -}}
{{- $config := default dict .Values.mailPushConfig -}}
{{- $create := $config.create -}}
{{- if kindIs "invalid" $create -}}
{{- $create = or $named $config.spec -}}
{{- end -}}
{{- if $create -}}
{{- $namespace := include "mail-push.namespace" . -}}
{{- if not (has $namespace (include "mail-push.watchNamespaces" . | fromJsonArray)) -}}
{{- fail (printf "watchNamespaces does not name %s, where the MailPushConfig %s is created: add it, or set mailPushConfig.create to false" $namespace (include "mail-push.configName" .)) -}}
{{- end -}}
true
{{- end -}}
{{- end -}}

{{- define "mail-push.config" -}}
{{- $spec := deepCopy (default dict (default dict .Values.mailPushConfig).spec) -}}
{{- include "mail-push.checkProperties" (default dict $spec.properties) -}}
{{- range $kind := list "packages" "features" -}}
{{- with include "mail-push.toggles" (dict "context" $ "kind" $kind) | fromJson -}}
{{- $_ := set $spec $kind (merge (dict "status" .) (default dict (index $spec $kind))) -}}
{{- end -}}
{{- end -}}
{{- with (include "mail-push.appSuiteProperties" . | fromJson).taken -}}
{{- $_ := set $spec "properties" (merge (dict) (default dict $spec.properties) .) -}}
{{- end -}}
{{- with include "mail-push.whitelist" . | fromJsonArray -}}
{{- $_ := set $spec "packages" (merge (dict "whitelist" .) (default dict $spec.packages)) -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled $spec.listeners -}}
{{- $_ := set $spec "listeners" (omit $spec.listeners "replicas") -}}
{{- end -}}
apiVersion: mailpush.dev/v1alpha1
kind: MailPushConfig
metadata:
  name: {{ include "mail-push.configName" . }}
  namespace: {{ include "mail-push.namespace" . }}
  labels:
    {{- include "mail-push.labels" . | nindent 4 }}
  {{- if not .Values.hooks.enabled }}
  annotations:
    # Argo CD: after the CRD and the operator, and no dry run before the CRD is there.
    argocd.argoproj.io/sync-wave: "1"
    argocd.argoproj.io/sync-options: SkipDryRunOnMissingResource=true
  {{- end }}
spec:
  {{- toYaml $spec | nindent 2 }}
{{- end -}}
