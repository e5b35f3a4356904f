// Package otlp sends the spans of a process to a receiver of OTLP over HTTP, as
// OpenTelemetry's variables say (OTEL_*).
//
// Its law: without OTEL_EXPORTER_OTLP_ENDPOINT there is no SDK; and a receiver
// that is away costs spans, never a request, an event or the start of a service.
//
// The SDK's own client of OTLP over HTTP brings gRPC along, five megabytes in
// each of six programs: the one request that it makes is in client.go.
package otlp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"miniblog/internal/event"
	"miniblog/internal/trace"
)

// stopLimit is how long the last spans may take at the end of a process.
const stopLimit = time.Second

// lookup returns a variable's value, or def where it is not set, as
// service.Env's String does.
type lookup = func(name, def string) string

// Start starts to record and send spans for a service, if the environment asks
// for that, and returns what ends it; on is false if it does not. An error is a
// variable that is wrong.
func Start(service string, env lookup) (stop func(), on bool, err error) {
	nothing := func() {}
	endpoint, err := endpointOf(env)
	if err != nil || endpoint == "" {
		return nothing, false, err
	}
	c := &client{url: endpoint, http: http.Client{Timeout: 10 * time.Second}}
	if err = errors.Join(c.configure(env), checkSampler(env)); err != nil {
		return nothing, false, err
	}
	attributes := resource.WithAttributes(semconv.ServiceName(service), semconv.ServiceNamespace("miniblog"),
		semconv.ServiceVersion(version()), semconv.ServiceInstanceID(event.NewID()))
	ctx := context.Background()
	about, err := resource.New(ctx, attributes, resource.WithHost(), resource.WithProcessPID(), resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nothing, false, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	exporter, err := otlptrace.New(ctx, c)
	if err != nil {
		return nothing, false, err
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { slog.Debug("tracing", "error", err) })) // the client said it
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about))
	trace.Use(provider)
	slog.Info("traces are recorded", "endpoint", endpoint)
	return func() {
		trace.Use(nil)
		ctx, cancel := context.WithTimeout(ctx, stopLimit)
		defer cancel()
		provider.Shutdown(ctx)
	}, true, nil
}

// endpointOf returns where spans go, "" if none are asked for.
func endpointOf(env lookup) (string, error) {
	exporter := env("OTEL_TRACES_EXPORTER", "")
	if exporter != "" && exporter != "otlp" && exporter != "none" {
		return "", fmt.Errorf("OTEL_TRACES_EXPORTER=%q: must be otlp or none", exporter)
	}
	if exporter == "none" || strings.EqualFold(env("OTEL_SDK_DISABLED", ""), "true") {
		return "", nil
	}
	name := "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	text := env(name, "")
	if text == "" {
		name = "OTEL_EXPORTER_OTLP_ENDPOINT"
		if text = env(name, ""); text == "" && exporter == "otlp" {
			text = "http://localhost:4318"
		}
		if text == "" {
			return "", nil
		}
		text = strings.TrimRight(text, "/") + "/v1/traces"
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("%s=%q: must be an absolute URL, such as http://localhost:4318", name, text)
	}
	return text, nil
}

// configure reads what else OTEL_EXPORTER_OTLP_… say; the names with TRACES in
// them come first.
func (c *client) configure(env lookup) (err error) {
	read := func(name string) (string, string) {
		for _, full := range []string{"OTEL_EXPORTER_OTLP_TRACES_" + name, "OTEL_EXPORTER_OTLP_" + name} {
			if value := env(full, ""); value != "" {
				return full, value
			}
		}
		return "", ""
	}
	if name, protocol := read("PROTOCOL"); protocol != "" && protocol != "http/protobuf" {
		err = errors.Join(err, fmt.Errorf("%s=%q: must be http/protobuf, which is all that is spoken here (port 4318 of most receivers)", name, protocol))
	}
	switch name, compression := read("COMPRESSION"); compression {
	case "gzip":
		c.gzip = true
	case "", "none":
	default:
		err = errors.Join(err, fmt.Errorf("%s=%q: must be gzip or none", name, compression))
	}
	if name, timeout := read("TIMEOUT"); timeout != "" {
		milliseconds, wrong := strconv.Atoi(timeout)
		if wrong != nil || milliseconds <= 0 {
			err = errors.Join(err, fmt.Errorf("%s=%q: must be a number of milliseconds, such as 10000", name, timeout))
		}
		c.http.Timeout = time.Duration(milliseconds) * time.Millisecond
	}
	c.headers = http.Header{}
	name, headers := read("HEADERS")
	for pair := range strings.SplitSeq(headers, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		value, wrong := url.PathUnescape(strings.TrimSpace(value))
		if !ok || wrong != nil {
			err = errors.Join(err, fmt.Errorf("%s: must be a list such as key=value,key=value, percent-encoded", name)) // the value may be secret
			continue
		}
		c.headers.Set(strings.TrimSpace(key), value)
	}
	return err
}

// checkSampler refuses what the SDK, which reads the variables itself, would
// replace by its default.
func checkSampler(env lookup) error {
	known := []string{"parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio", "always_on", "always_off", "traceidratio"}
	sampler := env("OTEL_TRACES_SAMPLER", known[0])
	if !slices.Contains(known, sampler) {
		return fmt.Errorf("OTEL_TRACES_SAMPLER=%q: must be one of %s", sampler, strings.Join(known, ", "))
	}
	argument := env("OTEL_TRACES_SAMPLER_ARG", "1")
	if ratio, err := strconv.ParseFloat(argument, 64); strings.HasSuffix(sampler, "ratio") && (err != nil || ratio < 0 || ratio > 1) {
		return fmt.Errorf("OTEL_TRACES_SAMPLER_ARG=%q: must be a number from 0 to 1", argument)
	}
	return nil
}

// version returns the version of the program.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || slices.Contains([]string{"", "(devel)"}, info.Main.Version) {
		return "devel"
	}
	return info.Main.Version
}
