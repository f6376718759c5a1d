// SPDX-License-Identifier: MIT
// Beside the benches of threads: goroutines, channels and locks on one processor. Prints NAME_ns=... for each name (all
// without one); `memory N`, `timers N`.
// Alone: go run scripts/bench/threads_go.go [NAME...]
package main

import (
	"bytes"
	"fmt"
	"math/rand"
	"os"
	"runtime"
	"sort"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// CPU time used so far, in nanoseconds.
func clock() float64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano() + u.Stime.Nano())
}

func through(ch chan int, n int) {
	go func() {
		for i := 0; i < n; i++ {
			ch <- i
		}
	}()
	for i := 0; i < n; i++ {
		<-ch
	}
}

func yields(n int) {
	var wg sync.WaitGroup
	for t := 0; t < 2; t++ {
		wg.Add(1)
		go func() {
			for i := 0; i < n/2; i++ {
				runtime.Gosched()
			}
			wg.Done()
		}()
	}
	wg.Wait()
}

func empty() {}

func spawns(n int) {
	for i := 0; i < n/100; i++ {
		for j := 0; j < 100; j++ {
			go empty()
		}
		runtime.Gosched()
	}
}

func selects(n int) {
	a, b := make(chan int, 128), make(chan int, 128)
	go func() {
		for i := 0; i < n/2; i++ {
			a <- i
			b <- i
		}
	}()
	for i := 0; i < n; i++ {
		select {
		case <-a:
		case <-b:
		}
	}
}

func locks(n int) {
	var l sync.Mutex
	for i := 0; i < n; i++ {
		l.Lock()
		l.Unlock() //nolint:staticcheck
	}
}

type rate struct {
	name string
	n    int
	run  func(int)
}

var rates = []rate{
	{"yield", 1000000, yields},
	{"spawn", 1000000, spawns},
	{"queue", 10000000, func(n int) { through(make(chan int, 128), n) }},
	{"rendezvous", 1000000, func(n int) { through(make(chan int), n) }},
	{"select", 1000000, selects},
	{"lock", 10000000, locks},
}

// KiB of resident memory.
func resident() float64 {
	status, _ := os.ReadFile("/proc/self/status")
	var kib float64
	fmt.Sscanf(string(status[bytes.Index(status, []byte("VmRSS:")):]), "VmRSS: %f", &kib)
	return kib
}

func memory(n int) {
	before := resident()
	for i := 0; i < n; i++ {
		go time.Sleep(time.Hour)
	}
	time.Sleep(200 * time.Millisecond)
	runtime.GC()
	fmt.Printf("rss_kib=%.3f\n", (resident()-before)/float64(n))
}

func timers(n int) {
	var wg sync.WaitGroup
	late := make([]float64, n)
	start := clock()
	for i := 0; i < n; i++ {
		wg.Add(1)
		go func(i int, d time.Duration) {
			due := time.Now().Add(d)
			time.Sleep(d)
			late[i] = time.Since(due).Seconds() * 1e3
			wg.Done()
		}(i, time.Duration(rand.Float64()*2e9))
		if i%1000 == 999 {
			runtime.Gosched()
		}
	}
	wg.Wait()
	cpu := (clock() - start) / float64(n)
	sort.Float64s(late)
	fmt.Printf("timer_ns=%.1f p99_ms=%.3f\n", cpu, late[n*99/100])
}

func wanted(name string) bool {
	for _, arg := range os.Args[1:] {
		if arg == name {
			return true
		}
	}
	return len(os.Args) == 1
}

func main() {
	runtime.GOMAXPROCS(1)
	if len(os.Args) > 2 {
		if n, err := strconv.Atoi(os.Args[2]); err == nil {
			map[string]func(int){"memory": memory, "timers": timers}[os.Args[1]](n)
			return
		}
	}
	for _, r := range rates {
		if wanted(r.name) {
			r.run(r.n / 10)
			start := clock()
			r.run(r.n)
			fmt.Printf("%s_ns=%.3f\n", r.name, (clock()-start)/float64(r.n))
		}
	}
}
