package tracker

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// contents keeps the contents of artifacts in the database, in pieces. They come and go in the transactions of the rows that
// name them: nothing is left of a process that is killed, and there is nothing to lock. While a content is written others
// wait.
type contents struct{ s *Store }

// pieceSize is the size of a piece in bytes; the last may be shorter. An empty content is one empty piece.
const pieceSize = 1 << 20

const (
	// postgresContent is a table that only servers have. What is kept is compressed already.
	postgresContent = `
		CREATE TABLE content (digest TEXT COLLATE "C" NOT NULL, piece BIGINT NOT NULL, data BYTEA NOT NULL, PRIMARY KEY (digest, piece));
		ALTER TABLE content ALTER COLUMN data SET STORAGE EXTERNAL`
	sqlAddPiece    = `INSERT INTO content (digest, piece, data) VALUES ($1, $2, $3)`
	sqlPiece       = `SELECT data FROM content WHERE digest = $1 AND piece = $2`
	sqlContentSize = `SELECT count(*), COALESCE(sum(octet_length(data)), 0) FROM content WHERE digest = $1`
	sqlContents    = `SELECT digest, sum(octet_length(data)) FROM content GROUP BY digest`
	sqlFreeContent = `DELETE FROM content WHERE digest = $1 AND NOT EXISTS (SELECT 1 FROM artifact WHERE artifact.digest = content.digest)`
)

func (contents) exists() bool                                          { return true }
func (contents) make() error                                           { return nil }
func (contents) lock(context.Context, bool) (unlock func(), err error) { return func() {}, nil }
func (contents) of(digest string) string                               { return digest }
func (contents) find(digest string) string                             { return digest }
func (c contents) setAside(ctx context.Context, digest string) error   { return c.remove(ctx, digest) }

// temporaryFile makes a file that has no name any more.
func temporaryFile() (*os.File, error) {
	file, err := os.CreateTemp("", "hrlab-artifact-")
	if err != nil {
		return nil, err
	}
	return file, os.Remove(file.Name())
}

// write reads a content to a temporary file, to know its digest.
func (contents) write(content io.Reader) (*File, error) {
	file, err := temporaryFile()
	if err != nil {
		return nil, err
	}
	hash := sha256.New()
	size, err := io.Copy(io.MultiWriter(file, hash), content)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &File{Digest: hex.EncodeToString(hash.Sum(nil)), Size: size, content: file}, nil
}

func (c contents) keep(t tx, f *File) error {
	if _, err := c.size(t.ctx, t, f.Digest); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if f.content == nil {
		return fmt.Errorf("%s: %w", f.Digest, fs.ErrNotExist)
	}
	data := make([]byte, min(pieceSize, f.Size))
	for piece := int64(0); piece == 0 || piece*pieceSize < f.Size; piece++ {
		n, err := f.content.ReadAt(data, piece*pieceSize)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if _, err := t.exec(sqlAddPiece, f.Digest, piece, data[:n]); err != nil { // not later, when data has another piece
			return err
		}
	}
	return nil
}

func (contents) size(ctx context.Context, q querier, digest string) (size int64, err error) {
	var pieces int64
	err = value(ctx, q, []any{&pieces, &size}, sqlContentSize, digest)
	if err == nil && pieces == 0 {
		err = fs.ErrNotExist
	}
	return size, err
}

// open copies a content to a temporary file.
func (contents) open(ctx context.Context, q querier, digest string) (_ *os.File, err error) {
	var data []byte
	file, err := temporaryFile()
	if err != nil {
		return nil, err
	}
	piece := int64(0)
	for ; err == nil && (piece == 0 || len(data) == pieceSize); piece++ {
		if err = value(ctx, q, []any{&data}, sqlPiece, digest, piece); err == nil {
			_, err = file.Write(data)
		}
	}
	switch {
	case errors.Is(err, sql.ErrNoRows) && piece == 1:
		err = fmt.Errorf("%s: %w: it is not in the database; where it is in a directory --artifacts names that", digest, fs.ErrNotExist)
	case errors.Is(err, sql.ErrNoRows):
		err = nil // the last piece was as long as all
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

func (c contents) each(ctx context.Context, f func(path string, size int64) error) error {
	sizes := map[string]int64{}
	err := each(ctx, c.s.db.reads(), sqlContents, nil, func(scan func(...any) error) error {
		var digest string
		var size int64
		err := scan(&digest, &size)
		sizes[digest] = size
		return err
	})
	for digest, size := range sizes {
		if err == nil {
			err = f(digest, size)
		}
	}
	return err
}

// remove removes a content that no run has.
func (c contents) remove(ctx context.Context, digest string) error {
	return c.s.transact(ctx, func(t tx) error { return t.all([]any{digest}, sqlFreeContent) })
}
