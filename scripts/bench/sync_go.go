// SPDX-License-Identifier: MIT
// For information beside the sync bench: channels and locks in Go.
// Alone: go run scripts/bench/sync_go.go
package main

import (
	"fmt"
	"runtime"
	"sync"
	"syscall"
)

// CPU time used so far, in nanoseconds.
func clock() float64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano() + u.Stime.Nano())
}

func measure(name string, n int, run func(int)) {
	run(n / 10)
	start := clock()
	run(n)
	fmt.Printf("%s_ns=%.3f\n", name, (clock()-start)/float64(n))
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

func main() {
	runtime.GOMAXPROCS(1)
	measure("yield", 1000000, yields)
	measure("queue", 10000000, func(n int) { through(make(chan int, 128), n) })
	measure("rendezvous", 1000000, func(n int) { through(make(chan int), n) })
	measure("select", 1000000, selects)
	measure("lock", 10000000, locks)
}
