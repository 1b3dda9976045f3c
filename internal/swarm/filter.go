package swarm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// ErrNoNamespace says that the overlay has no network namespace on this node:
// no task of the network runs here, so there is nothing to isolate either.
var ErrNoNamespace = errors.New("the overlay has no namespace on this node")

// Names of what the filter makes.
const (
	filterTable = "berth"
	filterChain = "forward"
	filterSet   = "edges"
)

// Filter is the isolation of containers on this node: a bridge filter inside
// the overlay's own network namespace. Edges may open connections to
// containers, containers to nobody on the overlay. It covers containers that
// come later without a further call; traffic between nodes passes the filters
// of both. It needs root (CAP_NET_ADMIN and CAP_SYS_ADMIN) and the engine's
// folder of network namespaces.
//
// The engine drops the namespace, and the filter with it, when the last task of
// the network leaves the node.
type Filter struct {
	execRoot  string
	networkID string
}

// NewFilter returns the filter of a network (by its engine ID) on the node
// whose engine has that exec root.
func NewFilter(execRoot, networkID string) *Filter {
	return &Filter{execRoot: execRoot, networkID: networkID}
}

// Filter returns the filter of the shared overlay on this engine's node.
func (c *Client) Filter(ctx context.Context) (*Filter, error) {
	id, err := c.NetworkID(ctx)
	if err != nil {
		return nil, err
	}
	return NewFilter(c.cfg.ExecRoot, id), nil
}

// Apply programs the filter, in one transaction of the kernel: at no moment is
// there less of a filter than before. Repeating it is cheap, and replaces the
// edges. ErrNoNamespace where no task of the network runs on this node.
func (f *Filter) Apply(edges []netip.Addr) error {
	return f.each(func(c *nftables.Conn) error { return program(c, edges) })
}

// Standing says whether the filter stands in the namespace that the overlay
// has now: a namespace that was made anew has none. ErrNoNamespace as in
// Apply.
func (f *Filter) Standing() (bool, error) {
	standing := true
	err := f.each(func(c *nftables.Conn) error {
		here, err := programmed(c)
		standing = standing && here
		return err
	})
	return standing && err == nil, err
}

// Admit lets further edges through a filter that stands.
func (f *Filter) Admit(edges []netip.Addr) error {
	return f.each(func(c *nftables.Conn) error {
		set, err := c.GetSetByName(&nftables.Table{Family: nftables.TableFamilyBridge, Name: filterTable}, filterSet)
		if err != nil {
			return fmt.Errorf("find set: %w", err)
		}
		if err := c.SetAddElements(set, elements(edges)); err != nil {
			return fmt.Errorf("add edges: %w", err)
		}
		return c.Flush()
	})
}

// Remove takes the filter away (ISOLATION=off, and tests of what it is for).
func (f *Filter) Remove() error {
	return f.each(func(c *nftables.Conn) error {
		// Adding first makes the removal of a table that is not there no error.
		t := c.AddTable(&nftables.Table{Family: nftables.TableFamilyBridge, Name: filterTable})
		c.DelTable(t)
		return c.Flush()
	})
}

// each calls do with a connection into each namespace of the overlay; there is
// one, but for the moment in which the engine replaces it.
func (f *Filter) each(do func(*nftables.Conn) error) error {
	paths, err := f.namespaces()
	if err != nil {
		return err
	}
	entered := 0
	for _, p := range paths {
		err := inNamespace(p, do)
		if errors.Is(err, ErrNoNamespace) {
			continue
		}
		if err != nil {
			return fmt.Errorf("filter in %s: %w", filepath.Base(p), err)
		}
		entered++
	}
	if entered == 0 {
		return ErrNoNamespace
	}
	return nil
}

// namespaces lists the files of the overlay's namespace. libnetwork names one
// by a count of how often it was made, a dash, and the network's ID, cut to 12
// characters in all (osl.GenerateKey); the count is nearly always 1.
func (f *Filter) namespaces() ([]string, error) {
	dir := filepath.Join(f.execRoot, "netns")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoNamespace
	}
	if err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	var paths []string
	for _, e := range entries {
		count, id, ok := strings.Cut(e.Name(), "-")
		if ok && len(e.Name()) == 12 && strings.Trim(count, "0123456789") == "" && count != "" && strings.HasPrefix(f.networkID, id) {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, nil
}

func inNamespace(path string, do func(*nftables.Conn) error) error {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNoNamespace
	}
	if err != nil {
		return fmt.Errorf("open namespace: %w", err)
	}
	defer file.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(file.Fd()), &st); err != nil {
		return fmt.Errorf("stat namespace: %w", err)
	}
	if st.Type != unix.NSFS_MAGIC {
		return ErrNoNamespace // the empty file on which the engine mounts it
	}
	c, err := nftables.New(nftables.WithNetNSFd(int(file.Fd())))
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	return do(c)
}

// filterPriority is that of nft's name "filter" in the bridge family. It has to
// be below 0, br_netfilter's: with bridge-nf-call-iptables that one takes each
// IP packet out of the hook, and goes on after priority 0 (br_nf_hook_thresh in
// the kernel's net/bridge/br_netfilter_hooks.c). It comes with a namespace's
// first bridge, so a filter at 0 that was there before would see nothing.
var filterPriority = nftables.ChainPriorityRef(-200)

// program writes this (in nft's words), replacing the rules and edges that are
// there without ever unhooking the chain:
//
//	table bridge berth {
//		set edges { type ipv4_addr; elements = { … } }
//		chain forward {
//			type filter hook forward priority filter; policy drop;
//			ether type arp accept
//			ip saddr @edges accept
//			ip daddr @edges tcp flags & (ack|rst) != 0 accept
//		}
//	}
//
// The last rule says what may pass rather than drop what opens a connection:
// fragments that hide their flags, and all that is not TCP, fall to the policy.
func program(c *nftables.Conn, edges []netip.Addr) error {
	t := c.AddTable(&nftables.Table{Family: nftables.TableFamilyBridge, Name: filterTable})
	drop := nftables.ChainPolicyDrop
	chain := c.AddChain(&nftables.Chain{
		Table:    t,
		Name:     filterChain,
		Type:     nftables.ChainTypeFilter,
		Hooknum:  nftables.ChainHookForward,
		Priority: filterPriority,
		Policy:   &drop,
	})
	// An ID of our own: the package would take one from a counter that it does
	// not guard against two goroutines. It need only be unique in the batch.
	set := &nftables.Set{Table: t, ID: 1, Name: filterSet, KeyType: nftables.TypeIPAddr}
	if err := c.AddSet(set, nil); err != nil {
		return fmt.Errorf("add set: %w", err)
	}
	c.FlushChain(chain)
	c.FlushSet(set)
	if err := c.SetAddElements(set, elements(edges)); err != nil {
		return fmt.Errorf("add edges: %w", err)
	}
	for _, exprs := range rules(set) {
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: exprs})
	}
	return c.Flush()
}

// elements are the IPv4 addresses, each once: the kernel refuses an element
// that comes twice. Overlays have no IPv6 unless somebody gives them one, and
// then all of it is dropped.
func elements(edges []netip.Addr) []nftables.SetElement {
	edges = slices.Clone(edges)
	slices.SortFunc(edges, netip.Addr.Compare)
	var list []nftables.SetElement
	for _, a := range slices.Compact(edges) {
		if a = a.Unmap(); a.Is4() {
			list = append(list, nftables.SetElement{Key: a.AsSlice()})
		}
	}
	return list
}

// Offsets in the headers of IPv4 and TCP.
const (
	ipv4Source      = 12
	ipv4Destination = 16
	tcpFlags        = 13

	tcpRST, tcpACK = 0x04, 0x10
)

// rules are the expressions of program's three rules.
func rules(set *nftables.Set) [][]expr.Any {
	accept := &expr.Verdict{Kind: expr.VerdictAccept}
	protocol := func(ethertype uint16) []expr.Any {
		return []expr.Any{
			&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(ethertype)},
		}
	}
	edge := func(offset uint32) []expr.Any {
		return append(protocol(unix.ETH_P_IP),
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
			&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID},
		)
	}
	return [][]expr.Any{
		append(protocol(unix.ETH_P_ARP), accept),
		append(edge(ipv4Source), accept),
		append(edge(ipv4Destination),
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: tcpFlags, Len: 1},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{tcpRST | tcpACK}, Xor: []byte{0}},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{0}},
			accept,
		),
	}
}

// programmed says whether the chain is there, hooked, dropping, and has its
// rules.
func programmed(c *nftables.Conn) (bool, error) {
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyBridge)
	if err != nil {
		return false, fmt.Errorf("list chains: %w", err)
	}
	for _, ch := range chains {
		if ch.Table.Name != filterTable || ch.Name != filterChain || ch.Hooknum == nil || ch.Policy == nil || ch.Priority == nil ||
			*ch.Hooknum != *nftables.ChainHookForward || *ch.Priority != *filterPriority || *ch.Policy != nftables.ChainPolicyDrop {
			continue
		}
		have, err := c.GetRules(ch.Table, ch)
		if err != nil {
			return false, fmt.Errorf("list rules: %w", err)
		}
		return len(have) == len(rules(&nftables.Set{})), nil
	}
	return false, nil
}
