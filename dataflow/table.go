package dataflow

import "reflect"

// A table keeps one value per key while rows are gathered by key. It grows as long
// as its budget lets it. It is used by one goroutine.
type table[K comparable, V any] interface {
	// at is where the value of k lies until the next call; fresh says that the key
	// is new and the value zero. It is nil when the key is new and there is no room;
	// an empty table has room for any key that the budget bears.
	at(k K) (v *V, fresh bool)
	len() int
	// each passes every key and value to f, in an order that depends only on what
	// was put in.
	each(f func(k K, v *V))
	// reset forgets everything and keeps the room.
	reset()
	// free gives the room back.
	free()
}

// newTable picks the table that is fastest for K.
func newTable[K comparable, V any](b *budget, key *layout) table[K, V] {
	t := reflect.TypeFor[K]()
	switch t.Kind() {
	case reflect.String:
		return newStringTable[K, V](b)
	case reflect.Int, reflect.Int64, reflect.Uint, reflect.Uint64:
		return newIntTable[K, V](b)
	}
	return newAnyTable[K, V](b, key)
}

// A budget is what a table may take of its task's memory: a share with a limit.
type budget struct {
	m       *Memory
	held    int64
	pressed bool // what is asked for cannot be done without
}

func newBudget(env *Env, name string, limit int64) *budget {
	return &budget{m: env.Memory.Child(name, limit)}
}

// grow asks for n more bytes. A budget that is pressed has them, or ends the run.
func (b *budget) grow(n int64) bool {
	if b.pressed {
		b.must(n)
		return true
	}
	return b.spare(n)
}

// spare asks for n more bytes, which can be done without.
func (b *budget) spare(n int64) bool {
	if !b.m.TryReserve(n) {
		return false
	}
	b.held += n
	return true
}

// must takes n bytes that cannot be done without.
func (b *budget) must(n int64) {
	if err := b.m.Reserve(n); err != nil {
		panic(stopRun{err})
	}
	b.held += n
}

func (b *budget) shrink(n int64) {
	b.m.Release(n)
	b.held -= n
}

func (b *budget) close() {
	b.m.Release(b.held)
	b.held = 0
}

// A table begins with so many slots, which it is given whatever the budget says.
const tableSlotsMin = 1 << 10

// roomy says whether n entries are few enough for so many slots: five in eight.
func roomy(n, slots int) bool { return n < slots*5/8 }
