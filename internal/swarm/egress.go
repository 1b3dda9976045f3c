package swarm

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Uplink is the bridge by which tasks on overlays reach what is no overlay;
// each engine in a Swarm makes one of that name.
const Uplink = "docker_gwbridge"

// ErrNotTheNode says that a network namespace is not an engine's.
var ErrNotTheNode = errors.New("there is no " + Uplink + " in that network namespace: it is not the node's")

// lease is how long the rules hold without being renewed. They refuse whatever
// is not known to be somebody else's, so a Berth that was taken away without
// them would otherwise keep other services from private networks until the
// machine is started anew.
const lease = time.Hour

// Refused are the destinations that containers do not reach: link-local
// addresses, under which clouds serve their machines' credentials, and private
// networks (RFC 1918, 6598, 4193, 4291). The last two are Azure's and Oracle's
// own, outside of those.
func Refused() []netip.Prefix {
	var list []netip.Prefix
	for _, p := range []string{"169.254.0.0/16", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fe80::/10",
		"168.63.129.16/32", "192.0.0.192/32"} {
		list = append(list, netip.MustParsePrefix(p))
	}
	return list
}

// EgressRules say what containers may reach beside the public internet and
// other machines' DNS.
type EgressRules struct {
	Exempt  []netip.Addr     // on the uplink: not containers of this instance
	Nodes   []netip.Addr     // of all nodes: refused, beside Refused and this node's own
	Allowed []netip.Prefix   // let through although refused
	Stores  []netip.AddrPort // likewise, that TCP port only
}

// Equal says whether two mean the same.
func (r EgressRules) Equal(o EgressRules) bool {
	return slices.Equal(r.Exempt, o.Exempt) && slices.Equal(r.Nodes, o.Nodes) && slices.Equal(r.Allowed, o.Allowed) && slices.Equal(r.Stores, o.Stores)
}

// Egress is what keeps containers on this node from private addresses: rules in
// the node's own network namespace, for what comes over the uplink. What is on
// the uplink and not known to be exempt is a container, so that one which was
// started a moment ago is never ahead of them.
type Egress struct {
	namespace string
	table     string
}

// NewEgress returns the rules of an instance on the node whose network
// namespace that file is.
func NewEgress(namespace, instance string) *Egress {
	return &Egress{namespace: namespace, table: "berth-" + instance}
}

// Apply programs the rules in one transaction of the kernel, in place of those
// that are there. They hold for an hour (lease).
func (e *Egress) Apply(r EgressRules) error {
	return e.enter(func(c *nftables.Conn) error { return e.program(c, r) })
}

// Standing says whether the rules are there.
func (e *Egress) Standing() (bool, error) {
	standing := false
	err := e.enter(func(c *nftables.Conn) error {
		chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyINet)
		if err != nil {
			return fmt.Errorf("list chains: %w", err)
		}
		for _, ch := range chains {
			if ch.Table.Name != e.table || ch.Name != egressChain || ch.Hooknum == nil {
				continue
			}
			have, err := c.GetRules(ch.Table, ch)
			if err != nil {
				return fmt.Errorf("list rules: %w", err)
			}
			standing = len(have) >= len(egressRules(EgressRules{}))
		}
		return nil
	})
	return standing && err == nil, err
}

// Remove takes the rules away.
func (e *Egress) Remove() error {
	return e.enter(func(c *nftables.Conn) error {
		c.DelTable(c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: e.table}))
		return c.Flush()
	})
}

// enter calls do with a connection into the node's network namespace, once it
// is seen to be one.
func (e *Egress) enter(do func(*nftables.Conn) error) error {
	file, err := os.Open(e.namespace)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotTheNode
	}
	if err != nil {
		return fmt.Errorf("open namespace: %w", err)
	}
	defer file.Close()
	if err := hasUplink(file); err != nil {
		return err
	}
	c, err := nftables.New(nftables.WithNetNSFd(int(file.Fd())))
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	return do(c)
}

// hasUplink looks for the uplink in a namespace, on a thread that then goes
// back. To let it end there instead would not do: the main thread never ends
// (runtime.mexit), and where that is the engine puts what it executes in our
// container.
func hasUplink(namespace *os.File) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		own, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("open own namespace: %w", err)
			return
		}
		defer own.Close()
		if err = unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("enter namespace: %w", err)
		} else if _, gone := net.InterfaceByName(Uplink); gone != nil {
			err = ErrNotTheNode
		}
		if back := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); back != nil {
			err = errors.Join(err, fmt.Errorf("leave namespace: %w", back)) // still locked: the thread ends
		} else {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// Names of what is programmed.
const (
	egressChain = "containers"
	setUplinks  = "uplinks"
)

// family is what IPv4 and IPv6 differ in.
type family struct {
	proto       byte // NFPROTO_…
	key         nftables.SetDatatype
	source      uint32 // offsets in the header
	destination uint32
	length      uint32
	suffix      string // of its sets' names
}

var families = []family{
	{unix.NFPROTO_IPV4, nftables.TypeIPAddr, ipv4Source, ipv4Destination, 4, "4"},
	{unix.NFPROTO_IPV6, nftables.TypeIP6Addr, 8, 24, 16, "6"},
}

func (f family) has(a netip.Addr) bool { return a.Is4() == (f.length == 4) }

// program writes this (in nft's words; the sets and the rules that name them
// are there for IPv6 as well):
//
//	table inet berth-<instance> {
//		set uplinks { type ifname; timeout 1h; elements = { docker_gwbridge } }
//		set exempt4 { type ipv4_addr; flags interval; … }
//		set allowed4, refused4 likewise
//		chain containers {
//			type filter hook prerouting priority mangle; policy accept;
//			iifname != @uplinks accept
//			ct direction reply accept
//			meta l4proto ipv6-icmp accept
//			tcp dport 53 accept
//			udp dport 53 accept
//			ip saddr @exempt4 accept
//			ip daddr @allowed4 accept
//			ip daddr STORE tcp dport PORT accept
//			ip daddr @refused4 drop
//			fib daddr type local drop
//		}
//	}
//
// The hook comes before the engine's own translation of published ports, so
// that a destination is what the container has called. It drops rather than
// rejects: an edge that has just started gets through with its next try.
func (e *Egress) program(c *nftables.Conn, r EgressRules) error {
	t := &nftables.Table{Family: nftables.TableFamilyINet, Name: e.table}
	c.AddTable(t)
	c.DelTable(t) // and anew, all at once: sets of another release may be of another kind
	t = c.AddTable(t)
	id := uint32(0)
	add := func(s *nftables.Set, elements []nftables.SetElement) error {
		id++ // of our own, as in Filter
		s.Table, s.ID = t, id
		if err := c.AddSet(s, elements); err != nil {
			return fmt.Errorf("add set %s: %w", s.Name, err)
		}
		return nil
	}
	if err := add(&nftables.Set{Name: setUplinks, KeyType: nftables.TypeIFName, HasTimeout: true, Timeout: lease},
		[]nftables.SetElement{{Key: interfaceName(Uplink)}}); err != nil {
		return err
	}
	refused := slices.Concat(Refused(), hosts(r.Nodes))
	for _, f := range families {
		for name, list := range map[string][]netip.Prefix{"exempt": hosts(r.Exempt), "allowed": r.Allowed, "refused": refused} {
			s := &nftables.Set{Name: name + f.suffix, KeyType: f.key, Interval: true}
			if err := add(s, f.intervals(list)); err != nil {
				return err
			}
		}
	}
	chain := c.AddChain(&nftables.Chain{
		Table: t, Name: egressChain, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityMangle,
	})
	for _, exprs := range egressRules(r) {
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: exprs})
	}
	return c.Flush()
}

// egressRules are the expressions of program's rules.
func egressRules(r EgressRules) [][]expr.Any {
	accept, drop := &expr.Verdict{Kind: expr.VerdictAccept}, &expr.Verdict{Kind: expr.VerdictDrop}
	same := func(data ...byte) *expr.Cmp { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }
	protocol := &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}
	port := &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}
	list := [][]expr.Any{
		{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, &expr.Lookup{SourceRegister: 1, SetName: setUplinks, Invert: true}, accept},
		{&expr.Ct{Key: expr.CtKeyDIRECTION, Register: 1}, same(1), accept},
		{protocol, same(unix.IPPROTO_ICMPV6), accept}, // neighbour discovery
		{protocol, same(unix.IPPROTO_TCP), port, same(binaryutil.BigEndian.PutUint16(53)...), accept},
		{protocol, same(unix.IPPROTO_UDP), port, same(binaryutil.BigEndian.PutUint16(53)...), accept},
	}
	for _, f := range families {
		address := func(offset uint32) []expr.Any {
			return []expr.Any{
				&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, same(f.proto),
				&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: f.length},
			}
		}
		in := func(set string) *expr.Lookup { return &expr.Lookup{SourceRegister: 1, SetName: set + f.suffix} }
		list = append(list,
			append(address(f.source), in("exempt"), accept),
			append(address(f.destination), in("allowed"), accept))
		for _, s := range r.Stores {
			if f.has(s.Addr().Unmap()) {
				list = append(list, append(address(f.destination), same(s.Addr().Unmap().AsSlice()...),
					protocol, same(unix.IPPROTO_TCP), port, same(binaryutil.BigEndian.PutUint16(s.Port())...), accept))
			}
		}
		list = append(list, append(address(f.destination), in("refused"), drop))
	}
	return append(list, []expr.Any{
		&expr.Fib{Register: 1, ResultADDRTYPE: true, FlagDADDR: true},
		same(binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)...), drop,
	})
}

// interfaceName is a name as the kernel compares it.
func interfaceName(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

func hosts(list []netip.Addr) []netip.Prefix {
	var out []netip.Prefix
	for _, a := range list {
		a = a.Unmap()
		out = append(out, netip.PrefixFrom(a, a.BitLen()))
	}
	return out
}

// intervals are the prefixes of a family as elements of a set: where each
// stretch of addresses begins, and the first address after it. The kernel
// refuses stretches that overlap.
func (f family) intervals(prefixes []netip.Prefix) []nftables.SetElement {
	var list []netip.Prefix
	for _, p := range prefixes {
		if f.has(p.Addr()) {
			list = append(list, p.Masked())
		}
	}
	slices.SortFunc(list, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	var out []nftables.SetElement
	var end netip.Addr // of the stretch before; prefixes nest or are apart
	for _, p := range list {
		if end.IsValid() && !end.Less(p.Addr()) {
			continue
		}
		if n := len(out); n > 0 && end.Next() == p.Addr() {
			out = out[:n-1] // they touch: one stretch
		} else {
			out = append(out, nftables.SetElement{Key: p.Addr().AsSlice()})
		}
		end = last(p)
		if next := end.Next(); next.IsValid() {
			out = append(out, nftables.SetElement{Key: next.AsSlice(), IntervalEnd: true})
		}
	}
	return out
}

// last is the last address of a prefix.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
