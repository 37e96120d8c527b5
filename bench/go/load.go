package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// load publishes n readings, as fast as the broker takes them or at a fixed rate.
func loadMain(args []string) {
	fs := flag.NewFlagSet("load", flag.ExitOnError)
	addr := fs.String("addr", "127.0.0.1:1883", "broker")
	n := fs.Uint64("n", 200000, "messages")
	seed := fs.Uint64("seed", 1, "seed")
	size := fs.Int("size", 256, "payload bytes")
	conns := fs.Int("c", 4, "connections")
	qos := fs.Int("qos", 1, "QoS 0 or 1")
	rate := fs.Float64("rate", 0, "messages a second over all connections; 0 = as fast as can be")
	window := fs.Int("window", 1000, "unacknowledged QoS 1 messages a connection")
	topics := fs.Uint64("topics", 100, "topics t/0 .. t/<topics-1>; message seq goes to t/<seq mod topics>")
	ids := fs.Uint64("ids", 1000, "id = seq mod ids")
	first := fs.Uint64("first", 0, "first seq")
	prefix := fs.String("prefix", "t/", "topic prefix")
	fs.Parse(args)
	ackNap := 2 * time.Millisecond
	if *rate > 0 {
		ackNap = 20 * time.Millisecond
	}
	start := time.Now()
	var wg sync.WaitGroup
	var acked atomic.Uint64
	for i := 0; i < *conns; i++ {
		c, r, err := mqttConnect(*addr, fmt.Sprintf("load-%d-%d", os.Getpid(), i), true)
		if err != nil {
			die(err)
		}
		sem := make(chan int, 64) // batches of acks
		wg.Add(1)
		if *qos > 0 {
			go func() {
				var buf []byte
				for {
					h, b, err := readPacket(r, buf)
					if err != nil {
						close(sem)
						return
					}
					buf = b
					if h>>4 != 4 {
						continue
					}
					k := 1
					for r.Buffered() >= 4 && k < *window/4 {
						if _, _, err := readPacket(r, buf); err != nil {
							break
						}
						k++
					}
					acked.Add(uint64(k))
					sem <- k
					if r.Buffered() < 4 {
						time.Sleep(ackNap) // read the next acks in one go
					}
				}
			}()
		}
		go func(i int) {
			defer wg.Done()
			if *rate > 0 {
				runtime.LockOSThread()
			}
			out := make([]byte, 0, 128<<10)
			pay := make([]byte, 0, 4096)
			pid := uint16(0)
			inflight := 0
			flush := func() {
				if len(out) > 0 {
					if _, err := c.Write(out); err != nil {
						die(err)
					}
					out = out[:0]
				}
			}
			tn := make([]string, *topics)
			for t := range tn {
				tn[t] = *prefix + strconv.Itoa(t)
			}
			for seq := *first; seq < *first+*n; seq++ {
				if int(seq%*topics)%*conns != i {
					continue
				}
				now := time.Now()
				ts := now
				if *rate > 0 {
					ts = start.Add(time.Duration(float64(seq-*first) / *rate * 1e9))
					if d := ts.Sub(now); d > 0 {
						flush()
						napUntil(ts)
					}
				}
				t10 := temp10(*seed, seq)
				if seq == *first+*n-1 {
					t10 = 50000 // the last one passes every filter: the end marker
				}
				pay = appendPayload(pay[:0], *seed, seq, seq%*ids, t10, ts.UnixMicro(), *size)
				if *qos > 0 {
					pid++
					if pid == 0 {
						pid = 1
					}
					if inflight >= *window {
						flush()
						k, ok := <-sem
						if !ok {
							die(fmt.Errorf("connection lost"))
						}
						inflight -= k
					}
				more:
					for {
						select {
						case k, ok := <-sem:
							if !ok {
								die(fmt.Errorf("connection lost"))
							}
							inflight -= k
						default:
							break more
						}
					}
					inflight++
				}
				if seq == *first+*n-1 && *conns > 1 {
					// the marker goes last of all connections
					flush()
					for *qos > 0 && acked.Load() < *n-1 {
						time.Sleep(time.Millisecond)
						select {
						case k := <-sem:
							inflight -= k
						default:
						}
					}
				}
				out = appendPublish(out, tn[seq%*topics], byte(*qos), pid, pay)
				if len(out) > 32<<10 {
					flush()
				}
			}
			flush()
			for *qos > 0 && inflight > 0 {
				k, ok := <-sem
				if !ok {
					break
				}
				inflight -= k
			}
			c.Write([]byte{0xe0, 0})
			c.Close()
		}(i)
	}
	wg.Wait()
	el := time.Since(start).Seconds()
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"n": *n, "seconds": el, "rate": float64(*n) / el, "start_us": start.UnixMicro(), "acked": acked.Load()})
}

// napUntil sleeps in the kernel, past Go's timers, which cost several wake-ups each.
func napUntil(t time.Time) {
	for d := time.Until(t); d > 0; d = time.Until(t) {
		ts := syscall.NsecToTimespec(int64(d))
		syscall.RawSyscall(syscall.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
	}
}

func die(err error) {
	fmt.Fprintln(os.Stderr, "mqb:", err)
	os.Exit(1)
}

// sub drains n messages, to learn how fast the broker alone delivers.
func subMain(args []string) {
	fs := flag.NewFlagSet("sub", flag.ExitOnError)
	addr := fs.String("addr", "127.0.0.1:1883", "broker")
	n := fs.Int("n", 200000, "messages")
	qos := fs.Int("qos", 1, "QoS")
	topic := fs.String("topic", "t/#", "filter")
	fs.Parse(args)
	c, r, err := mqttConnect(*addr, "mqb-sub", true)
	if err != nil {
		die(err)
	}
	v := append([]byte{0, 1, byte(len(*topic) >> 8), byte(len(*topic))}, *topic...)
	v = append(v, byte(*qos))
	c.Write(append(append([]byte{0x82}, varlen(len(v))...), v...))
	var buf, acks []byte
	got := 0
	var t0 time.Time
	for got < *n {
		h, b, err := readPacket(r, buf)
		if err != nil {
			die(err)
		}
		buf = b
		if h>>4 != 3 {
			fmt.Fprintln(os.Stderr, "subscribed")
			continue
		}
		if got == 0 {
			t0 = time.Now()
		}
		got++
		if h&6 != 0 {
			tl := int(b[0])<<8 | int(b[1])
			acks = append(acks, 0x40, 2, b[2+tl], b[3+tl])
		}
		if r.Buffered() == 0 || len(acks) > 8<<10 {
			c.Write(acks)
			acks = acks[:0]
		}
	}
	c.Write(acks)
	el := time.Since(t0).Seconds()
	json.NewEncoder(os.Stdout).Encode(map[string]any{"n": got, "seconds": el, "rate": float64(got) / el})
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: mqb load|recv|brk|sub [flags]")
		os.Exit(2)
	}
	switch os.Args[1] {
	case "load":
		loadMain(os.Args[2:])
	case "recv":
		recvMain(os.Args[2:])
	case "sub":
		subMain(os.Args[2:])
	case "brk":
		brkMain(os.Args[2:])
	}
}
