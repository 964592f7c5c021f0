{{/*
What App Suite's own values say of mail push: packages, features and properties below core-mw, wherever a stack nests that.
*/}}

{{/* A JSON list of {path, value}: each core-mw that is set. Argument: root context. */}}
{{- define "mail-push.coreMws" -}}
{{- $found := list -}}
{{- range $path := list "core-mw" "appsuite.core-mw" "global.appsuite.core-mw" -}}
{{- $here := $.Values -}}
{{- range splitList "." $path -}}
{{- $next := dict -}}
{{- if kindIs "map" $here -}}{{- $next = index $here . -}}{{- end -}}
{{- $here = $next -}}
{{- end -}}
{{- if kindIs "map" $here -}}{{- $found = append $found (dict "path" $path "value" $here) -}}{{- end -}}
{{- end -}}
{{- $found | toJson -}}
{{- end -}}

{{/* Refuses push packages that stand only below roles, which this chart has none of. Arguments: root context, named (a map). */}}
{{- define "mail-push.checkRoles" -}}
{{- $named := .named -}}
{{- range $place := include "mail-push.coreMws" .context | fromJsonArray -}}
{{- range $group := list "roles" "scaling.nodes" "defaultScaling.nodes" -}}
{{- $roles := $place.value -}}
{{- range splitList "." $group -}}{{- if kindIs "map" $roles -}}{{- $roles = index $roles . -}}{{- end -}}{{- end -}}
{{- if kindIs "map" $roles -}}
{{- range $role, $body := $roles -}}
{{- if kindIs "map" $body -}}
{{- range $part, $values := dict "" $body ".values" $body.values -}}
{{- $status := dict -}}
{{- if kindIs "map" $values -}}{{- if kindIs "map" $values.packages -}}{{- $status = $values.packages.status -}}{{- end -}}{{- end -}}
{{- if kindIs "map" $status -}}
{{- range $package, $value := $status -}}
{{- if and (hasPrefix "open-xchange-push-" $package) (eq (toString $value) "enabled") (not (hasKey $named $package)) -}}
{{- fail (printf "%s.%s.%s%s.packages.status.%s: Mail Push has no roles, so it reads none. Write %s.packages.status.%s; which of its pods listen is said by mailPushConfig.spec.listeners.podOverrides" $place.path $group $role $part $package $place.path $package) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A property's value as a property file has it. Arguments: value, path. */}}
{{- define "mail-push.propertyValue" -}}
{{- if or (kindIs "map" .value) (kindIs "slice" .value) -}}
{{- fail (printf "%s is a map or a list, but a property is one text" .path) -}}
{{- else if kindIs "float64" .value -}}
{{- if eq (floor .value) .value -}}{{- printf "%d" (int64 .value) -}}{{- else -}}{{- toString .value -}}{{- end -}}
{{- else -}}
{{- toString .value -}}
{{- end -}}
{{- end -}}

{{/*
The properties of mail push among App Suite's, as JSON: `taken`, by name; `own`, those of which the spec has its own, by field;
`secrets`, which are never taken, by field; `templates`, which only App Suite's chart can fill in. Argument: root context.
*/}}
{{- define "mail-push.appSuiteProperties" -}}
{{- $known := .Files.Get "files/known.json" | fromJson -}}
{{- $config := default dict .Values.mailPushConfig -}}
{{- $spec := default dict $config.spec -}}
{{- $maps := list -}}
{{- range $place := include "mail-push.coreMws" . | fromJsonArray -}}
{{- range $group := list "properties" "secretProperties" -}}
{{- $maps = append $maps (dict "path" (printf "%s.%s" $place.path $group) "map" (index $place.value $group)) -}}
{{- end -}}
{{- range $group := list "propertiesFiles" "secretPropertiesFiles" -}}
{{- if kindIs "map" (index $place.value $group) -}}
{{- range $file, $map := index $place.value $group -}}
{{- $maps = append $maps (dict "path" (printf "%s.%s.%s" $place.path $group $file) "map" $map) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $global := default dict .Values.global -}}
{{- if kindIs "map" $global.appsuite -}}
{{- range $name, $map := $global.appsuite -}}
{{- $maps = append $maps (dict "path" (printf "global.appsuite.%s" $name) "map" $map) -}}
{{- end -}}
{{- end -}}
{{- $taken := dict -}}
{{- $from := dict -}}
{{- $own := dict -}}
{{- $secrets := dict -}}
{{- $templates := list -}}
{{- range $one := $maps -}}
{{- if kindIs "map" $one.map -}}
{{- if kindIs "map" $one.map.com -}}
{{- if kindIs "map" $one.map.com.openexchange -}}
{{- if or (hasKey $one.map.com.openexchange "push") (hasKey $one.map.com.openexchange "mail") -}}
{{- fail (printf "%s.com.openexchange is a map, but a property's name is one key: write \"com.openexchange.push...\" in one, and after --set with its dots escaped (com\\.openexchange\\.push...)" $one.path) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $key, $value := $one.map -}}
{{- $ours := or (hasPrefix "com.openexchange.push." $key) (hasPrefix "com.openexchange.mail." $key) (hasPrefix "com.openexchange.dovecot.doveadm." $key) -}}
{{- if and $ours (not (kindIs "invalid" $value)) -}}
{{- $path := printf "%s.%s" $one.path $key -}}
{{- $text := include "mail-push.propertyValue" (dict "value" $value "path" $path) -}}
{{- if hasKey $known.secrets $key -}}
{{- $_ := set $secrets $key (index $known.secrets $key) -}}
{{- else if contains "{{" $text -}}
{{- $templates = append $templates $key -}}
{{- else if hasKey (default dict $spec.properties) $key -}}
{{- $_ := set $own $key "properties" -}}
{{- else if include "mail-push.ownField" (dict "spec" $spec "fields" (index $known.fields $key)) -}}
{{- $_ := set $own $key (include "mail-push.ownField" (dict "spec" $spec "fields" (index $known.fields $key))) -}}
{{- else -}}
{{- if and (hasKey $taken $key) (ne (index $taken $key) $text) -}}
{{- fail (printf "%s and %s differ: keep one of them, make them the same, or set the property in mailPushConfig.spec, which wins" (index $from $key) $path) -}}
{{- end -}}
{{- $_ := set $taken $key $text -}}
{{- $_ := set $from $key $path -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- dict "taken" $taken "own" $own "secrets" $secrets "templates" ($templates | uniq) | toJson -}}
{{- end -}}

{{/* The first of the fields that the spec sets itself, or nothing. Arguments: spec, fields (paths, or nothing). */}}
{{- define "mail-push.ownField" -}}
{{- $own := "" -}}
{{- range $field := .fields -}}
{{- $here := $.spec -}}
{{- range splitList "." $field -}}
{{- $next := "" -}}
{{- if kindIs "map" $here -}}{{- if hasKey $here . -}}{{- $next = index $here . -}}{{- end -}}{{- end -}}
{{- if kindIs "invalid" $next -}}{{- $next = "" -}}{{- end -}}
{{- $here = $next -}}
{{- end -}}
{{- if and (not $own) (ne (toString $here) "") -}}{{- $own = $field -}}{{- end -}}
{{- end -}}
{{- $own -}}
{{- end -}}
