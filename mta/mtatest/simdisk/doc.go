// Package simdisk is a disk that forgets: a durable.FS in memory under which a test can kill a process or cut the power
// at any file operation, and then start again from what a real disk might hold.
//
// # The model
//
// A file has one name and an inode. The kernel's cache shows every program the newest state at once; what the disk has
// is another matter:
//
//   - Bytes written become durable by Sync of the file or SyncFS of its filesystem. Of those that are not, a power loss
//     keeps any choice: none, all, the first few (the next one cut in the middle), any subset; where a write is missing but
//     the size is there, zeros are read. A size grown by Allocate or a write is part of this.
//   - A name that was made, renamed or removed is durable after SyncDir of a folder that it touched, or after SyncFS. Of
//     those operations that are not, a power loss keeps any subset, in order: so unlinks may reorder, and a later one may
//     survive where an earlier did not. A rename inside a filesystem is atomic: the file is at the old name or at the
//     new one, never at both or at neither. Sync of a file says nothing about its name.
//   - An unlinked inode is gone wherever its name was.
//   - A failed Sync or SyncFS loses what it was to write: the cache still shows it, a later Sync of the same file does not
//     bring it to the disk. After a failed SyncFS the next Sync of each file that it lost reports that once.
//   - Locks belong to open files and end with their process.
//   - A killed process takes its open files and memory; the cache stays.
//
// Each filesystem is a folder at the top: "/spool" and "/mail" are two, and no rename leads from one to the other.
//
// Every operation that changes something has a number, counted from 1, so that a test can stop at each in turn.
package simdisk
