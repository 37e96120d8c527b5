package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// job is what `load` is asked to do; publisher i of conns sends its share of it.
type job struct {
	n, topics, ids, seed uint64
	size, window, conns  int
	qos                  byte
	rate                 float64
	start                time.Time
	acked                atomic.Uint64 // over all publishers
}

type publisher struct {
	*job
	number   int
	c        net.Conn
	out      []byte
	acks     chan int // how many acknowledgements came, in batches
	inflight int
}

// load publishes n readings, as fast as the broker takes them or at a fixed rate.
func loadMain(args []string) {
	fs := flag.NewFlagSet("load", flag.ExitOnError)
	j := &job{}
	addr := fs.String("addr", "127.0.0.1:1883", "broker")
	fs.Uint64Var(&j.n, "n", 200000, "messages")
	fs.Uint64Var(&j.seed, "seed", 1, "seed")
	fs.IntVar(&j.size, "size", 256, "payload bytes")
	fs.IntVar(&j.conns, "c", 4, "connections")
	qos := fs.Int("qos", 1, "QoS 0 or 1")
	fs.Float64Var(&j.rate, "rate", 0, "messages a second over all connections; 0 = as fast as can be")
	fs.IntVar(&j.window, "window", 1000, "unacknowledged QoS 1 messages a connection")
	fs.Uint64Var(&j.topics, "topics", 100, "topics t/0 .. t/<topics-1>; message seq goes to t/<seq mod topics>")
	fs.Uint64Var(&j.ids, "ids", 1000, "id = seq mod ids")
	fs.Parse(args)
	j.qos = byte(*qos)
	j.start = time.Now()
	var wg sync.WaitGroup
	for i := range j.conns {
		c, r, err := mqttConnect(*addr, fmt.Sprintf("load-%d-%d", os.Getpid(), i), true)
		if err != nil {
			die(err)
		}
		p := &publisher{job: j, number: i, c: c, acks: make(chan int, 64)}
		if j.qos > 0 {
			go p.readAcks(r)
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			p.run()
		}()
	}
	wg.Wait()
	el := time.Since(j.start).Seconds()
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"n": j.n, "seconds": el, "rate": float64(j.n) / el, "start_us": j.start.UnixMicro(), "acked": j.acked.Load()})
}

// readAcks takes acknowledgements in large batches: on few cores a wake-up for each would cost more than the load.
func (p *publisher) readAcks(r *bufio.Reader) {
	nap := 2 * time.Millisecond
	if p.rate > 0 {
		nap = 20 * time.Millisecond
	}
	var buf []byte
	for {
		h, b, err := readPacket(r, buf)
		if err != nil {
			close(p.acks)
			return
		}
		buf = b
		if h>>4 != 4 {
			continue
		}
		k := 1
		for r.Buffered() >= 4 && k < p.window/4 {
			if _, _, err := readPacket(r, buf); err != nil {
				break
			}
			k++
		}
		p.acked.Add(uint64(k))
		p.acks <- k
		if r.Buffered() < 4 {
			time.Sleep(nap)
		}
	}
}

func (p *publisher) run() {
	if p.rate > 0 {
		runtime.LockOSThread()
	}
	var pay []byte
	pid := uint16(0)
	for seq := range p.n {
		if int(seq%p.topics)%p.conns != p.number {
			continue
		}
		ts := p.due(seq)
		t10 := temp10(p.seed, seq)
		if seq == p.n-1 {
			t10 = 50000 // the last one passes every filter: the end marker
			p.awaitOthers()
		}
		pay = appendPayload(pay[:0], p.seed, seq, seq%p.ids, t10, ts.UnixMicro(), p.size)
		if p.qos > 0 {
			if pid++; pid == 0 {
				pid = 1
			}
			p.takeRoom()
		}
		p.out = appendPublish(p.out, "t/"+strconv.FormatUint(seq%p.topics, 10), p.qos, pid, pay)
		if len(p.out) > 32<<10 {
			p.flush()
		}
	}
	p.flush()
	for p.qos > 0 && p.inflight > 0 {
		k, ok := <-p.acks
		if !ok {
			break
		}
		p.inflight -= k
	}
	p.c.Write([]byte{0xe0, 0})
	p.c.Close()
}

// due waits, at a rate, until message seq is due; it returns that moment, late or not.
func (p *publisher) due(seq uint64) time.Time {
	now := time.Now()
	if p.rate == 0 {
		return now
	}
	ts := p.start.Add(time.Duration(float64(seq) / p.rate * 1e9))
	if ts.After(now) {
		p.flush()
		napUntil(ts)
	}
	return ts
}

// takeRoom makes room for one more unacknowledged message.
func (p *publisher) takeRoom() {
	if p.inflight >= p.window {
		p.flush()
		k, ok := <-p.acks
		if !ok {
			die(errors.New("connection lost"))
		}
		p.inflight -= k
	}
	p.drain()
	p.inflight++
}

func (p *publisher) drain() {
	for {
		select {
		case k, ok := <-p.acks:
			if !ok {
				die(errors.New("connection lost"))
			}
			p.inflight -= k
		default:
			return
		}
	}
}

// awaitOthers holds the end marker back until everything else, of all connections, is acknowledged.
func (p *publisher) awaitOthers() {
	if p.conns == 1 || p.qos == 0 {
		return
	}
	p.flush()
	for p.acked.Load() < p.n-1 {
		time.Sleep(time.Millisecond)
		p.drain()
	}
}

func (p *publisher) flush() {
	if len(p.out) > 0 {
		if _, err := p.c.Write(p.out); err != nil {
			die(err)
		}
		p.out = p.out[:0]
	}
}

// napUntil sleeps in the kernel, past Go's timers, which cost several wake-ups each.
func napUntil(t time.Time) {
	for d := time.Until(t); d > 0; d = time.Until(t) {
		ts := syscall.NsecToTimespec(int64(d))
		syscall.RawSyscall(syscall.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
	}
}
