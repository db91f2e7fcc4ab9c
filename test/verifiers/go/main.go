// Reads claims about a transparency log, one a line as JSON, and writes what the Go team's packages
// for Go's own checksum database say of each: ok, or refused and why.
package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type claim struct {
	Kind      string
	Note      []byte
	Key       string
	Index     int64
	Size      int64
	Root      []byte
	Entry     []byte
	Proof     [][]byte
	From      int64
	FromRoot  []byte
	To        int64
	ToRoot    []byte
	Directory string
	Replaced  map[string]*[]byte
}

func main() {
	in := bufio.NewReader(os.Stdin)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for {
		line, err := in.ReadBytes('\n')
		if err == io.EOF {
			return
		}
		if err != nil {
			panic(err)
		}
		var c claim
		if err := json.Unmarshal(line, &c); err != nil {
			panic(err)
		}
		said, err := c.check()
		if err != nil {
			said = "refused: " + strings.ReplaceAll(err.Error(), "\n", " ")
		}
		fmt.Fprintln(out, said)
	}
}

func (c claim) check() (string, error) {
	switch c.Kind {
	case "checkpoint":
		return c.checkpoint()
	case "inclusion":
		return "ok", c.inclusion()
	case "consistency":
		return "ok", c.consistency()
	case "tiles":
		return "ok", c.tiles()
	}
	panic("no such kind of claim: " + c.Kind)
}

// A witness signs the time with the checkpoint (c2sp.org/tlog-cosignature), which package note does not know.
type witness struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func (w witness) Name() string    { return w.name }
func (w witness) KeyHash() uint32 { return w.hash }
func (w witness) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	time := binary.BigEndian.Uint64(sig)
	signed := append([]byte(fmt.Sprintf("cosignature/v1\ntime %d\n", time)), msg...)
	return ed25519.Verify(w.key, signed, sig[8:])
}

func verifier(text string) (note.Verifier, error) {
	parts := strings.SplitN(text, "+", 3)
	if len(parts) != 3 {
		return nil, errors.New("not a verifier key")
	}
	key, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil {
		return nil, err
	}
	if len(key) != 1+ed25519.PublicKeySize || key[0] != 4 {
		return note.NewVerifier(text)
	}
	id := sha256.Sum256(append([]byte(parts[0]+"\n"), key...))
	hash := binary.BigEndian.Uint32(id[:])
	if fmt.Sprintf("%08x", hash) != parts[1] {
		return nil, errors.New("wrong key id")
	}
	return witness{parts[0], hash, ed25519.PublicKey(key[1:])}, nil
}

func (c claim) checkpoint() (string, error) {
	v, err := verifier(c.Key)
	if err != nil {
		return "", err
	}
	n, err := note.Open(c.Note, note.VerifierList(v))
	if err != nil {
		return "", err
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) != 4 || lines[0] == "" || lines[3] != "" {
		return "", errors.New("not the three lines of a checkpoint")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return "", errors.New("not a size")
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("ok %d %s", size, root), nil
}

func hashOf(b []byte) (tlog.Hash, error) {
	var h tlog.Hash
	if len(b) != tlog.HashSize {
		return h, fmt.Errorf("a hash of %d bytes", len(b))
	}
	copy(h[:], b)
	return h, nil
}

func hashesOf(list [][]byte) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(list))
	for i, b := range list {
		h, err := hashOf(b)
		if err != nil {
			return nil, err
		}
		hashes[i] = h
	}
	return hashes, nil
}

func (c claim) inclusion() error {
	root, err := hashOf(c.Root)
	if err != nil {
		return err
	}
	proof, err := hashesOf(c.Proof)
	if err != nil {
		return err
	}
	return tlog.CheckRecord(proof, c.Size, root, c.Index, tlog.RecordHash(c.Entry))
}

func (c claim) consistency() error {
	roots, err := hashesOf([][]byte{c.FromRoot, c.ToRoot})
	if err != nil {
		return err
	}
	proof, err := hashesOf(c.Proof)
	if err != nil {
		return err
	}
	return tlog.CheckTree(proof, c.To, roots[1], c.From, roots[0])
}

const height = 8

func (c claim) read(path string) ([]byte, error) {
	if replaced, ok := c.Replaced[path]; ok {
		if replaced == nil {
			return nil, os.ErrNotExist
		}
		return *replaced, nil
	}
	return os.ReadFile(filepath.Join(c.Directory, filepath.FromSlash(path)))
}

// A log may delete a partial tile once it has the full one.
func (c claim) partialOrFull(t tlog.Tile, kind string) ([]byte, error) {
	path := func(t tlog.Tile) string {
		rest := strings.SplitN(t.Path(), "/", 4)
		return "tile/" + kind + "/" + rest[3]
	}
	data, err := c.read(path(t))
	if errors.Is(err, os.ErrNotExist) {
		t.W = 1 << height
		data, err = c.read(path(t))
	}
	return data, err
}

func (c claim) Height() int                     { return height }
func (c claim) SaveTiles([]tlog.Tile, [][]byte) {}
func (c claim) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	all := make([][]byte, len(tiles))
	for i, t := range tiles {
		data, err := c.partialOrFull(t, strconv.Itoa(t.L))
		if err != nil {
			return nil, err
		}
		if len(data) == tlog.HashSize<<height {
			data = data[:t.W*tlog.HashSize]
		}
		all[i] = data
	}
	return all, nil
}

func entries(bundle []byte) ([][]byte, error) {
	var list [][]byte
	for len(bundle) > 0 {
		if len(bundle) < 2 {
			return nil, io.ErrUnexpectedEOF
		}
		n := int(binary.BigEndian.Uint16(bundle))
		if len(bundle) < 2+n {
			return nil, io.ErrUnexpectedEOF
		}
		list = append(list, bundle[2:2+n])
		bundle = bundle[2+n:]
	}
	return list, nil
}

func (c claim) tiles() error {
	root, err := hashOf(c.Root)
	if err != nil {
		return err
	}
	if c.Size == 0 {
		if empty := sha256.Sum256(nil); !bytes.Equal(empty[:], c.Root) {
			return errors.New("not the root of the empty tree")
		}
		return nil
	}
	indexes := make([]int64, c.Size)
	for i := range indexes {
		indexes[i] = tlog.StoredHashIndex(0, int64(i))
	}
	hashes, err := tlog.TileHashReader(tlog.Tree{N: c.Size, Hash: root}, c).ReadHashes(indexes)
	if err != nil {
		return err
	}
	for first := int64(0); first < c.Size; first += 1 << height {
		width := c.Size - first
		if width > 1<<height {
			width = 1 << height
		}
		bundle, err := c.partialOrFull(tlog.Tile{H: height, N: first >> height, W: int(width)}, "entries")
		if err != nil {
			return err
		}
		list, err := entries(bundle)
		if err != nil {
			return err
		}
		if int64(len(list)) != width && len(list) != 1<<height {
			return fmt.Errorf("%d entries instead of %d", len(list), width)
		}
		for i := int64(0); i < width; i++ {
			if tlog.RecordHash(list[i]) != hashes[first+i] {
				return fmt.Errorf("another entry %d", first+i)
			}
		}
	}
	return nil
}
