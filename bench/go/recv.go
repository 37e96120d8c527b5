package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// recv is the HTTP server at the end of the pipeline. The data side is a bare HTTP/1.1
// loop (keepalive, pipelining, chunked bodies, Expect: 100-continue) so that it costs
// little; the control side is net/http on another port.

type state struct {
	mu       sync.Mutex
	n        uint64
	seed     uint64
	topics   uint64
	expect   string
	seen     []uint8
	lastSeq  []int64
	want     uint64
	unique   uint64
	dup      uint64
	ooo      uint64
	foreign  uint64
	noseq    uint64
	probes   uint64
	requests uint64
	bytes    uint64
	rejected uint64
	maxBatch uint64
	firstNs  int64
	lastNs   int64 // last new event
	maxGapNs int64 // longest wait between new events
	hist     [4096]uint64
	latMax   int64
	latSum   float64
	latN     uint64
	conns    int64
	connTot  int64
	sample   string
	secs     map[int64]uint64 // new events by second since the first
}

var st = &state{topics: 100}

type fault struct {
	kind  string // "", 503, hang, close, p500, down
	until int64  // ns
	pct   float64
}

var curFault atomic.Pointer[fault]
var latencyNs atomic.Int64
var rejectLive atomic.Int64

// histogram buckets: 64 to an octave of microseconds
func bucket(us int64) int {
	if us < 1 {
		us = 1
	}
	b := int(math.Log2(float64(us)) * 64)
	if b > 4095 {
		b = 4095
	}
	return b
}
func bucketUs(b int) float64 { return math.Exp2((float64(b) + 0.5) / 64) }

func (s *state) event(seq uint64, ts int64, now int64) {
	if seq >= probeSeq {
		s.probes++
		return
	}
	if seq >= s.n || !wanted(s.expect, s.seed, seq, s.n) {
		s.foreign++
		return
	}
	if s.seen[seq] > 0 {
		if s.seen[seq] < 255 {
			s.seen[seq]++
		}
		s.dup++
		return
	}
	s.seen[seq] = 1
	s.unique++
	if s.firstNs == 0 {
		s.firstNs = now
	} else if g := now - s.lastNs; g > s.maxGapNs {
		s.maxGapNs = g
	}
	s.lastNs = now
	s.secs[(now-s.firstNs)/1e9]++
	t := seq % s.topics
	if int64(seq) < s.lastSeq[t] {
		s.ooo++
	} else {
		s.lastSeq[t] = int64(seq)
	}
	if ts > 0 {
		us := now/1000 - ts
		s.hist[bucket(us)]++
		s.latN++
		s.latSum += float64(us)
		if us > s.latMax {
			s.latMax = us
		}
	}
}

var kSeq, kTs = []byte(`"seq":`), []byte(`"ts":`)

// num reads the number after key in b from i on; it returns -1 when there is none.
func num(b []byte, key []byte, from int) (float64, int) {
	i := bytes.Index(b[from:], key)
	if i < 0 {
		return -1, -1
	}
	i += from + len(key)
	for i < len(b) && (b[i] == ' ' || b[i] == '"') {
		i++
	}
	j := i
	var v uint64
	for j < len(b) && b[j] >= '0' && b[j] <= '9' {
		v = v*10 + uint64(b[j]-'0')
		j++
	}
	if j < len(b) && (b[j] == '.' || b[j] == 'e' || b[j] == 'E') {
		for j < len(b) && strings.IndexByte("0123456789.eE+-", b[j]) >= 0 {
			j++
		}
		f, err := strconv.ParseFloat(string(b[i:j]), 64)
		if err != nil {
			return -1, j
		}
		return f, j
	}
	if i == j {
		return -1, j
	}
	return float64(v), j
}

// body counts every event in one accepted request body.
func (s *state) body(b []byte, now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	s.bytes += uint64(len(b))
	if s.sample == "" {
		if len(b) > 600 {
			s.sample = string(b[:600])
		} else {
			s.sample = string(b)
		}
	}
	at, k := 0, uint64(0)
	for {
		v, j := num(b, kSeq, at)
		if j < 0 {
			break
		}
		// the ts of this event: the one nearest, in the same braces
		lo := bytes.LastIndexByte(b[:j-1], '{')
		if lo < 0 {
			lo = 0
		}
		hi := bytes.IndexByte(b[j:], '}')
		if hi < 0 {
			hi = len(b)
		} else {
			hi += j
		}
		ts, _ := num(b[lo:hi], kTs, 0)
		if v < 0 {
			s.noseq++
		} else {
			s.event(uint64(v), int64(ts), now)
		}
		k++
		at = j
	}
	if k == 0 {
		s.noseq++
	}
	if k > s.maxBatch {
		s.maxBatch = k
	}
}

var ok200 = []byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok")
var ok204 = []byte("HTTP/1.1 204 No Content\r\n\r\n")
var noBody atomic.Bool
var err503 = []byte("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\nContent-Type: text/plain\r\n\r\nbusy")
var err500 = []byte("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\nContent-Type: text/plain\r\n\r\noops")

const (
	needMore = iota
	whole
	bad
)

func parse(b []byte, c *econn) (head []byte, body []byte, used int, state int) {
	e := bytes.Index(b, []byte("\r\n\r\n"))
	if e < 0 {
		if len(b) > 64<<10 {
			return nil, nil, 0, bad
		}
		return nil, nil, 0, needMore
	}
	head = b[:e+2]
	clen := -1
	chunked, expect := false, false
	line := bytes.IndexByte(head, '\n') + 1
	for line < len(head) {
		nl := bytes.IndexByte(head[line:], '\n')
		if nl < 0 {
			break
		}
		h := head[line : line+nl-1]
		line += nl + 1
		if len(h) < 8 {
			continue
		}
		switch h[0] | 0x20 {
		case 'c':
			if len(h) > 15 && strings.EqualFold(string(h[:15]), "content-length:") {
				clen = 0
				for _, d := range bytes.TrimSpace(h[15:]) {
					clen = clen*10 + int(d-'0')
				}
			}
		case 't':
			if len(h) > 18 && strings.EqualFold(string(h[:18]), "transfer-encoding:") && bytes.Contains(bytes.ToLower(h[18:]), []byte("chunked")) {
				chunked = true
			}
		case 'e':
			if len(h) > 7 && strings.EqualFold(string(h[:7]), "expect:") {
				expect = true
			}
		}
	}
	rest := b[e+4:]
	if expect && len(rest) == 0 {
		c.out = append(c.out, "HTTP/1.1 100 Continue\r\n\r\n"...)
	}
	if chunked {
		var out []byte
		i := 0
		for {
			nl := bytes.Index(rest[i:], []byte("\r\n"))
			if nl < 0 {
				return nil, nil, 0, needMore
			}
			sz, err := strconv.ParseInt(string(bytes.TrimSpace(bytes.SplitN(rest[i:i+nl], []byte(";"), 2)[0])), 16, 64)
			if err != nil {
				return nil, nil, 0, bad
			}
			i += nl + 2
			if len(rest) < i+int(sz)+2 {
				return nil, nil, 0, needMore
			}
			if sz == 0 {
				return head, out, e + 4 + i + 2, whole
			}
			out = append(out, rest[i:i+int(sz)]...)
			i += int(sz) + 2
		}
	}
	if clen < 0 {
		clen = 0
	}
	if len(rest) < clen {
		return nil, nil, 0, needMore
	}
	return head, rest[:clen], e + 4 + clen, whole
}

func (s *state) quantile(q float64) float64 {
	if s.latN == 0 {
		return 0
	}
	need := uint64(math.Ceil(q * float64(s.latN)))
	var c uint64
	for b, k := range s.hist {
		c += k
		if c >= need {
			return math.Round(bucketUs(b))
		}
	}
	return float64(s.latMax)
}

func (s *state) summary(full bool) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := map[string]any{"n": s.n, "want": s.want, "unique": s.unique, "dup": s.dup, "ooo": s.ooo,
		"foreign": s.foreign, "noseq": s.noseq, "probes": s.probes, "requests": s.requests,
		"bytes": s.bytes, "rejected": rejectLive.Load(), "max_batch": s.maxBatch,
		"first_us": s.firstNs / 1000, "last_us": s.lastNs / 1000, "max_gap_ms": s.maxGapNs / 1e6,
		"conns": atomic.LoadInt64(&s.conns), "conns_total": atomic.LoadInt64(&s.connTot),
		"missing": s.want - s.unique}
	if s.latN > 0 {
		m["p50_us"], m["p99_us"], m["p999_us"] = s.quantile(.5), s.quantile(.99), s.quantile(.999)
		m["p90_us"] = s.quantile(.9)
		m["max_us"] = s.latMax
		m["mean_us"] = math.Round(s.latSum / float64(s.latN))
	}
	if full {
		m["sample"] = s.sample
		var miss []uint64
		for q := uint64(0); q < s.n && len(miss) < 20; q++ {
			if s.seen[q] == 0 && wanted(s.expect, s.seed, q, s.n) {
				miss = append(miss, q)
			}
		}
		m["missing_first"] = miss
		var last int64
		for k := range s.secs {
			last = max(last, k)
		}
		per := make([]uint64, last+1)
		for k, v := range s.secs {
			per[k] = v
		}
		m["per_second"] = per
	}
	return m
}

func recvMain(args []string) {
	fs := flag.NewFlagSet("recv", flag.ExitOnError)
	port := fs.Int("port", 18080, "data port")
	ctl := fs.Int("ctl", 18081, "control port")
	procs := fs.Int("procs", 3, "GOMAXPROCS")
	fs.Parse(args)
	runtime.GOMAXPROCS(*procs)
	st.secs = map[int64]uint64{}
	d := &loop{port: *port, cmd: make(chan int64, 4)}
	if err := d.up(); err != nil {
		die(err)
	}
	debug.SetGCPercent(400)
	go d.run()
	st.lastSeq = make([]int64, 100)
	http.HandleFunc("/reset", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		u := func(k string, def uint64) uint64 {
			if v, err := strconv.ParseUint(q.Get(k), 10, 64); err == nil {
				return v
			}
			return def
		}
		st.mu.Lock()
		n := u("n", 0)
		conns, tot := atomic.LoadInt64(&st.conns), atomic.LoadInt64(&st.connTot)
		st.n, st.seed, st.topics, st.expect = n, u("seed", 1), u("topics", 100), q.Get("expect")
		st.seen = make([]uint8, n)
		st.lastSeq = make([]int64, st.topics)
		for i := range st.lastSeq {
			st.lastSeq[i] = -1
		}
		st.want = 0
		for i := uint64(0); i < n; i++ {
			if wanted(st.expect, st.seed, i, n) {
				st.want++
			}
		}
		st.unique, st.dup, st.ooo, st.foreign, st.noseq, st.probes, st.requests, st.bytes = 0, 0, 0, 0, 0, 0, 0, 0
		st.firstNs, st.lastNs, st.maxGapNs, st.latMax, st.latN, st.latSum, st.maxBatch = 0, 0, 0, 0, 0, 0, 0
		st.hist = [4096]uint64{}
		st.secs = map[int64]uint64{}
		st.sample = ""
		atomic.StoreInt64(&st.conns, conns)
		atomic.StoreInt64(&st.connTot, tot)
		st.mu.Unlock()
		rejectLive.Store(0)
		noBody.Store(u("nobody", 0) == 1)
		curFault.Store(nil)
		latencyNs.Store(int64(u("lat_us", 0)) * 1000)
		fmt.Fprintln(w, "{}")
	})
	http.HandleFunc("/stats", func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(st.summary(r.URL.Query().Get("full") != ""))
	})
	http.HandleFunc("/fault", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		ms, _ := strconv.ParseInt(q.Get("ms"), 10, 64)
		pct, _ := strconv.ParseFloat(q.Get("pct"), 64)
		f := &fault{kind: q.Get("kind"), until: time.Now().UnixNano() + ms*1e6, pct: pct}
		if f.kind == "down" {
			d.cmd <- ms
		}
		curFault.Store(f)
		fmt.Fprintln(w, "{}")
	})
	fmt.Fprintln(os.Stderr, "recv ready")
	if err := http.ListenAndServe(fmt.Sprintf("127.0.0.1:%d", *ctl), nil); err != nil {
		die(err)
	}
}
