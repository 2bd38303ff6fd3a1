package job

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// skewed is a job whose stage 3 joins what stages 0 and 1 have made with what stage 2 has,
// of which as much lies in each partition as is said.
func skewed(t *testing.T, text string, slots int, producers [2]int, left, right []int64) *Job {
	j := New(Spec{ID: "j", Plan: parsePlan(t, text)})
	j.slots = slots
	for stage, n := range []int{producers[0], producers[1], 2} {
		j.stages[stage].setTasks(StagePlanned{Tasks: make([]Planned, n)}, 1)
	}
	j.ex[0].totals, j.ex[1].totals = left, right
	return j
}

const skewedPlan = "exchange hash 9\nexchange hash 9\n" +
	"stage split:0 > ex:0\nstage split:1 > ex:0\nstage split:2 > ex:1\nstage shared:0 partition:1 > sink:0"

// Whatever the sizes: each output of a producer of the shared input is read by one task of
// each partition, each partition of the other by all tasks that read any of it, and nothing
// is cut that is not much larger, or where what is read again outweighs it.
func TestShares(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	cut := 0
	for range 5000 {
		left, right := make([]int64, 9), make([]int64, 9)
		for p := range left {
			if rnd.IntN(4) > 0 {
				left[p] = rnd.Int64N(100 << 20)
			}
			if rnd.IntN(10) == 0 {
				left[p] *= 1 + rnd.Int64N(50)
			}
			right[p] = rnd.Int64N(1 + []int64{0, 1 << 20, 100 << 20}[rnd.IntN(3)])
		}
		producers := [2]int{rnd.IntN(12), rnd.IntN(12)}
		slots := rnd.IntN(12)
		text := skewedPlan
		if rnd.IntN(4) == 0 {
			text = "exchange hash 9 fixed" + text[len("exchange hash 9"):]
		}
		j := skewed(t, text, slots, producers, left, right)
		all, why := j.planPartitions(j.stages[3].plan)

		readers := make([]int, 9) // tasks by partition
		for _, task := range all {
			if task.Split != -1 || task.ForwardStage != -1 || task.Lo >= task.Hi {
				t.Fatalf("%+v", task)
			}
			for p := task.Lo; p < task.Hi; p++ {
				readers[p]++
			}
			if task.Of > 0 && (task.Hi != task.Lo+1 || task.Of == 1) {
				t.Errorf("%+v is a share of several partitions, or the only one", task)
			}
		}
		for p, n := range readers {
			for stage, tasks := range producers {
				for index := range tasks {
					reads := 0
					for _, task := range all {
						if task.Lo <= p && p < task.Hi && (task.Of == 0 || index%task.Of == task.Share) {
							reads++
						}
					}
					if reads != 1 {
						t.Fatalf("partition %d of task %d/%d is read by %d tasks: %+v", p, stage, index, reads, all)
					}
				}
			}
			if n == 1 {
				continue
			}
			cut++
			sorted := slices.Sorted(slices.Values(left))
			if left[p] <= 4*sorted[4] || n > slots || n > max(producers[0], producers[1]) || int64(n-1)*right[p]*2 > left[p] || why == "" {
				t.Errorf("partition %d is cut into %d, of %v beside %v, with %v producers and %d slots (%s)", p, n, left, right, producers, slots, why)
			}
		}
	}
	if cut < 1000 {
		t.Errorf("%d partitions were cut: too few to learn from", cut)
	}
}

// What is not skewed is read as if nothing could be shared out, and so is what may not be.
func TestSharesOfEven(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 500 {
		left, right := make([]int64, 9), make([]int64, 9)
		size := 1 + rnd.Int64N(500<<20)
		for p := range left {
			left[p], right[p] = size+rnd.Int64N(size), rnd.Int64N(1+rnd.Int64N(size))
		}
		hot := slices.Clone(left)
		hot[rnd.IntN(9)] *= 100
		slots := 1 + rnd.IntN(8)
		plain := func(sizes []int64) []Planned {
			all := make([]int64, 9)
			for p := range all {
				all[p] = sizes[p] + right[p]
			}
			return joined(all, slots, 0)
		}
		even := skewed(t, skewedPlan, slots, [2]int{8, 8}, left, right)
		if all, _ := even.planPartitions(even.stages[3].plan); !slices.Equal(all, plain(left)) {
			t.Errorf("%v beside %v: %+v", left, right, all)
		}
		for name, change := range map[string]func(j *Job){
			"not shared": func(j *Job) { j.stages[3].plan.Inputs[0].Shared = false },
			"a sample":   func(j *Job) { j.stages[3].plan.MaxTasks = 4 },
			"one slot":   func(j *Job) { j.slots = 1 },
			"few producers": func(j *Job) {
				for _, s := range j.stages[:2] {
					s.tasks = s.tasks[:1]
				}
			},
		} {
			j := skewed(t, skewedPlan, slots, [2]int{8, 8}, hot, right)
			change(j)
			all, _ := j.planPartitions(j.stages[3].plan)
			for _, task := range all {
				if task.Of > 0 {
					t.Errorf("%s: %+v", name, task)
				}
			}
		}
	}
}

// Where nothing at all came there is one task.
func TestSharesOfNothing(t *testing.T) {
	j := skewed(t, skewedPlan, 4, [2]int{3, 3}, make([]int64, 9), make([]int64, 9))
	if all, _ := j.planPartitions(j.stages[3].plan); len(all) != 1 || all[0].Of != 0 || all[0].Hi != 9 {
		t.Errorf("%+v", all)
	}
}

// The figures of the rule, one by one.
func TestCutsOf(t *testing.T) {
	const mb = 1 << 20
	even := []int64{10 * mb, 10 * mb, 10 * mb, 10 * mb, 0}
	hot := func(n int64) []int64 { return append(slices.Clone(even[:4]), n) }
	for _, c := range []struct {
		name  string
		left  []int64
		right int64 // of the hot partition
		most  int
		want  int
	}{
		{"even", hot(10 * mb), 0, 8, 1},
		{"four times", hot(40 * mb), 0, 8, 1},
		{"more than four times", hot(40*mb + 1), 0, 8, 3},
		{"as many as it has targets", hot(100 * mb), 0, 8, 5},
		{"no more than slots or producers", hot(1000 * mb), 0, 8, 8},
		{"as many as pay", hot(1000 * mb), 100 * mb, 80, 6},
		{"none that pays", hot(100 * mb), 51 * mb, 8, 1},
		{"one slot", hot(1000 * mb), 0, 1, 1},
		{"no slot", hot(1000 * mb), 0, 0, 1},
		{"nothing else there", []int64{0, 0, 0, 0, 60 * mb}, 0, 8, 3},
	} {
		got := cutsOf(c.left, []int64{0, 0, 0, 0, c.right}, 20*mb, c.most)
		for p := range c.left {
			want := 1
			if p == 4 {
				want = c.want
			}
			if got.of(p) != want {
				t.Errorf("%s: partition %d is cut into %d, want %d", c.name, p, got.of(p), want)
			}
		}
	}
}
