// mqb is the harness's own end of a benchmark: it publishes, plays a broker, receives.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"
)

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
