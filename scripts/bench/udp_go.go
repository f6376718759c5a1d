// SPDX-License-Identifier: MIT
// Beside the udp bench: the same server in Go, one datagram a call, as package net offers it.
// Alone: go run scripts/bench/udp_go.go
package main

import (
	"fmt"
	"net"
	"os"
)

func main() {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("listening on udp://%s\n", conn.LocalAddr())
	buf := make([]byte, 2048)
	for {
		n, peer, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		conn.WriteToUDPAddrPort(buf[:n], peer)
	}
}
