import {
  type AddressSpace,
  PAGE_SIZE,
  type Page,
  Random,
  TASK_SIZE,
  VM_READ,
} from '../../src/kernel/index.ts';
import {
  BioVec,
  dup_iter,
  EFAULT,
  EINVAL,
  ENOMEM,
  GFP_KERNEL,
  type Iovec,
  IovIter,
  ITER_BVEC,
  ITER_IOVEC,
  ITER_KVEC,
  iov_iter_advance,
  iov_iter_alignment,
  iov_iter_bvec,
  iov_iter_count,
  iov_iter_has_gap,
  iov_iter_init,
  iov_iter_kvec,
  iov_iter_npages,
  iov_iter_reexpand,
  iov_iter_rw,
  iov_iter_single_seg_count,
  iov_iter_truncate,
  iov_length,
  iter_is_iovec,
  type LinuxApi,
  MAX_RW_COUNT,
  READ,
  WRITE,
} from '../../src/linux/index.ts';
import { assert, suite } from '../run/suite.ts';
import { boot, inTask } from './help.ts';
import { asUser, BASE, map, pattern, peek, poke } from './user.ts';

const test = suite('iov_iter');

function iovs(...pieces: (readonly [base: number, len: number])[]): Iovec[] {
  return pieces.map(([iov_base, iov_len]) => ({ iov_base, iov_len }));
}

function over(direction: number, iov: readonly Iovec[], count = iov_length(iov, iov.length)): IovIter {
  const i = new IovIter();
  iov_iter_init(i, direction, iov, iov.length, count);
  return i;
}

function alloc(linux: LinuxApi): Page {
  const page = inTask(linux, () => linux.alloc_page(GFP_KERNEL));
  if (page === null) throw new Error('no page');
  return page;
}

test('the three kinds of iterators are told apart, and so is the direction', () => {
  const i = new IovIter();
  iov_iter_init(i, WRITE, iovs([0, 1]), 1, 1);
  assert.equal([i.type, iter_is_iovec(i), iov_iter_rw(i)], [ITER_IOVEC | WRITE, true, WRITE]);
  iov_iter_kvec(i, READ, iovs([0, 1]), 1, 1);
  assert.equal([i.type, iter_is_iovec(i), iov_iter_rw(i)], [ITER_KVEC | READ, false, READ]);
  iov_iter_bvec(i, WRITE, [new BioVec()], 1, 0);
  assert.equal([i.type, iter_is_iovec(i), iov_iter_rw(i)], [ITER_BVEC | WRITE, false, WRITE]);
});

test('advance moves over pieces, empty ones too, and stops at the end', () => {
  const i = over(READ, iovs([0x1000, 100], [0x9000, 0], [0x2000, 50]));
  iov_iter_advance(i, 30);
  assert.equal([i.seg, i.iov_offset, iov_iter_count(i), iov_iter_single_seg_count(i)], [0, 30, 120, 70]);
  iov_iter_advance(i, 70);
  assert.equal([i.iov_offset, iov_iter_count(i)], [0, 50]);
  iov_iter_advance(i, 20);
  assert.equal([i.seg, i.iov_offset, i.nr_segs], [2, 20, 1]);
  iov_iter_advance(i, 1000);
  assert.equal([iov_iter_count(i), i.nr_segs], [0, 0]);
});

test('truncate and reexpand change only how much is left', () => {
  const i = over(READ, iovs([0x1000, 100]));
  iov_iter_truncate(i, 40);
  assert.is(iov_iter_single_seg_count(i), 40);
  iov_iter_truncate(i, 60);
  assert.is(iov_iter_count(i), 40);
  iov_iter_reexpand(i, 100);
  assert.is(iov_iter_single_seg_count(i), 100);
});

test('MAP-04 alignment ors bases and lengths, as far as the count goes', () => {
  assert.is(iov_iter_alignment(over(READ, iovs([0x1000, 0x200], [0x2400, 0x1000]))), 0x3600);
  assert.is(iov_iter_alignment(over(READ, iovs([0x1000, 0x200], [0x2401, 0x1000]), 0x200)), 0x1200);
  assert.is(iov_iter_alignment(over(READ, iovs([0x1000, 0x300]), 0x201)), 0x1201);
  assert.is(iov_iter_alignment(over(READ, iovs([0x1003, 0], [0x1000, 0x200]))), 0x1200);
  assert.is(iov_iter_alignment(over(READ, iovs([0x1003, 0x10]), 0)), 0);
  const i = over(READ, iovs([0x1000, 0x200]));
  iov_iter_advance(i, 1);
  assert.is(iov_iter_alignment(i), 0x1001 | 0x1ff);
});

test('MAP-05 the gap test looks at every inner border, and at no outer one', () => {
  const gap = (...pieces: (readonly [number, number])[]) =>
    iov_iter_has_gap(over(READ, iovs(...pieces)), 0xfff);
  assert.is(gap([0x1234, 0x77]), false);
  assert.is(gap([0x1800, 0x800], [0x4000, 0x123]), false);
  assert.is(gap([0x1800, 0x1000], [0x4000, 0x1000]), true);
  assert.is(gap([0x1000, 0x1000], [0x4200, 0x1000]), true);
  assert.is(gap([0x1000, 0x1000], [0x4201, 0], [0x8000, 0x1000]), false);
  const short = over(READ, iovs([0x1000, 0x1000], [0x2000, 0x200]));
  assert.is(iov_iter_has_gap(short, 0x1ff), false);
  const inside = over(READ, iovs([0x1000, 0x200], [0x2200, 0x200]));
  assert.is(
    iov_iter_has_gap(inside, 0x1ff),
    true,
    'aligned to the boundary, but a vec would begin inside its page',
  );
});

test('npages counts the pages that are touched, up to a maximum', () => {
  const i = over(READ, iovs([0x1fff, 2], [0x3000, 0x1000], [0x5000, 0]));
  assert.is(iov_iter_npages(i, 100), 3);
  assert.is(iov_iter_npages(i, 2), 2);
  iov_iter_advance(i, 1);
  assert.is(iov_iter_npages(i, 100), 2);
});

test('a copied iterator has pieces of its own and stands at the same byte', () => {
  const iov = iovs([0x1000, 100], [0x2000, 100]);
  const i = over(WRITE, iov);
  iov_iter_advance(i, 130);
  const copy = new IovIter();
  dup_iter(copy, i);
  Object.assign(iov[1] ?? {}, { iov_base: 0, iov_len: 0 });
  assert.equal([copy.count, copy.iov_offset, copy.nr_segs], [70, 30, 1]);
  assert.equal(copy.iov[copy.seg], { iov_base: 0x2000, iov_len: 100 });
});

test('copy_page_to_iter and copy_page_from_iter move bytes of user memory, faulting in what is missing', async () => {
  const linux = await boot();
  const page = alloc(linux);
  const bytes = pattern(PAGE_SIZE);
  linux.kernel.memory.writeBytes(page.phys, bytes);
  asUser(linux, function* (mm) {
    yield* map(mm, BASE, 3);
    const to = over(READ, iovs([BASE + 10, 100], [BASE + 4000, 4500]));
    assert.is(yield* linux.copy_page_to_iter(page, 8, 3000, to), 3000);
    assert.is(iov_iter_count(to), 1600);
    assert.equal(yield* peek(linux, mm, BASE + 10, 100), bytes.slice(8, 108));
    assert.equal(yield* peek(linux, mm, BASE + 4000, 2900), bytes.slice(108, 3008));
    const from = over(WRITE, iovs([BASE + 4000, 2900]));
    linux.clear_highpage(page);
    assert.is(yield* linux.copy_page_from_iter(page, 100, 5000, from), 2900);
    assert.equal(linux.kernel.memory.readBytes(page.phys + 100, 2900), bytes.slice(108, 3008));
    assert.is(iov_iter_count(from), 0);
  });
  linux.put_page(page);
});

test('a copy stops at the first byte of user memory that cannot be had', async () => {
  const linux = await boot();
  const page = alloc(linux);
  asUser(linux, function* (mm) {
    yield* map(mm, BASE, 1);
    yield* map(mm, BASE + PAGE_SIZE, 1, VM_READ);
    const i = over(READ, iovs([BASE + 4000, 1000]));
    assert.is(yield* linux.copy_page_to_iter(page, 0, 1000, i), 96);
    assert.equal([i.count, i.iov_offset], [904, 96]);
    assert.is(yield* linux.copy_page_to_iter(page, 0, 1000, i), 0);
    assert.is(
      yield* linux.copy_page_from_iter(page, 0, 904, over(WRITE, iovs([BASE + PAGE_SIZE, 904]))),
      904,
    );
  });
  const kernelThread = over(READ, iovs([BASE, 10]));
  assert.is(
    inTask(linux, () => linux.copy_page_to_iter(page, 0, 10, kernelThread)),
    0,
  );
  linux.put_page(page);
});

test('fault injection decides once for each copy', async () => {
  const linux = await boot();
  const page = alloc(linux);
  const { copyFailures } = linux.kernel.vm;
  asUser(linux, function* (mm) {
    yield* map(mm, BASE, 1);
    yield* poke(linux, mm, BASE, pattern(8));
    copyFailures.set({ every: 2 });
    const done: number[] = [];
    for (let n = 0; n < 4; n++)
      done.push(yield* linux.copy_page_to_iter(page, 0, 8, over(READ, iovs([BASE, 8]))));
    copyFailures.off();
    assert.equal(done, [8, 0, 8, 0]);
  });
  linux.put_page(page);
});

test('kernel and page iterators are copied without user memory', async () => {
  const linux = await boot();
  const [a, b] = [alloc(linux), alloc(linux)];
  const bytes = pattern(200);
  linux.kernel.memory.writeBytes(a.phys, bytes);
  const kernel = new IovIter();
  iov_iter_kvec(kernel, READ, iovs([b.phys + 5, 50], [b.phys + 100, 150]), 2, 200);
  assert.is(
    inTask(linux, () => linux.copy_to_iter(a.phys, 200, kernel)),
    200,
  );
  assert.equal(linux.kernel.memory.readBytes(b.phys + 5, 50), bytes.slice(0, 50));
  assert.equal(linux.kernel.memory.readBytes(b.phys + 100, 150), bytes.slice(50));
  const vec = Object.assign(new BioVec(), { bv_page: b, bv_offset: 100, bv_len: 150 });
  const pages = new IovIter();
  iov_iter_bvec(pages, WRITE, [vec], 1, 150);
  assert.is(
    inTask(linux, () => linux.copy_from_iter(a.phys + 1000, 150, pages)),
    150,
  );
  assert.equal(linux.kernel.memory.readBytes(a.phys + 1000, 150), bytes.slice(50));
  for (const page of [a, b]) linux.put_page(page);
});

/** Puts structs iovec into user memory. */
function* pokeIovecs(
  linux: LinuxApi,
  mm: AddressSpace,
  at: number,
  ...pieces: (readonly [number, number])[]
) {
  const words = new Uint32Array(
    pieces.flatMap(([base, len]) => [base % 2 ** 32, base / 2 ** 32, len % 2 ** 32, len / 2 ** 32]),
  );
  yield* poke(linux, mm, at, new Uint8Array(words.buffer));
}

test('import_iovec reads the pieces of a system call', async () => {
  const linux = await boot();
  asUser(linux, function* (mm) {
    yield* map(mm, BASE, 1);
    yield* pokeIovecs(linux, mm, BASE, [0x5000, 100], [0x7ffff0000000, 0], [0x123456789000, 17]);
    const i = new IovIter();
    const iov: { array: Iovec[] | null } = { array: null };
    assert.is(yield* linux.import_iovec(WRITE, BASE, 3, 8, iov, i), 117);
    assert.equal([i.count, i.nr_segs, iov_iter_rw(i)], [117, 3, WRITE]);
    assert.equal(i.iov[2], { iov_base: 0x123456789000, iov_len: 17 });
    assert.is(yield* linux.import_iovec(READ, BASE, 0, 8, iov, i), 0);
    assert.is(i.count, 0);
  });
});

test('import_iovec refuses too many pieces, negative lengths, and what users cannot have', async () => {
  const linux = await boot();
  asUser(linux, function* (mm) {
    yield* map(mm, BASE, 1);
    const i = new IovIter();
    const iov: { array: Iovec[] | null } = { array: null };
    assert.is(yield* linux.import_iovec(READ, BASE, 1025, 8, iov, i), -EINVAL);
    yield* pokeIovecs(linux, mm, BASE, [0x5000, 2 ** 63]);
    assert.is(yield* linux.import_iovec(READ, BASE, 1, 8, iov, i), -EINVAL);
    yield* pokeIovecs(linux, mm, BASE, [TASK_SIZE - 10, 11]);
    assert.is(yield* linux.import_iovec(READ, BASE, 1, 8, iov, i), -EFAULT);
    assert.is(yield* linux.import_iovec(READ, BASE + PAGE_SIZE, 1, 8, iov, i), -EFAULT);
    assert.is(iov.array, null);
    linux.kernel.faults.slab.failAll();
    assert.is(yield* linux.import_iovec(READ, BASE, 9, 8, iov, i), -ENOMEM);
    linux.kernel.faults.slab.off();
  });
});

test('import_iovec and import_single_range cut down to 2^31 less a page', async () => {
  const linux = await boot();
  asUser(linux, function* (mm) {
    yield* map(mm, BASE, 1);
    yield* pokeIovecs(linux, mm, BASE, [0x10000, 0x7fff0000], [0x10000, 0x20000], [0x10000, 5]);
    const i = new IovIter();
    const iov: { array: Iovec[] | null } = { array: null };
    assert.is(yield* linux.import_iovec(READ, BASE, 3, 8, iov, i), MAX_RW_COUNT);
    assert.equal(
      i.iov.map(({ iov_len }) => iov_len),
      [0x7fff0000, 0xf000, 0],
    );
    const single = { iov_base: 0, iov_len: 0 };
    assert.is(linux.import_single_range(READ, 0x10000, 2 ** 40, single, i), 0);
    assert.equal([i.count, single.iov_len], [MAX_RW_COUNT, MAX_RW_COUNT]);
    assert.is(linux.import_single_range(READ, TASK_SIZE, 1, single, i), -EFAULT);
  });
});

test('any walk over random pieces sees the bytes of the pieces, in order', () => {
  const random = new Random(20);
  for (let round = 0; round < 200; round++) {
    const pieces = Array.from(
      { length: random.below(6) },
      () => [random.below(1000), random.below(4) * random.below(40)] as const,
    );
    const iov = iovs(...pieces);
    const model = pieces.flatMap(([base, len]) => Array.from({ length: len }, (_, n) => base + n));
    const count = random.below(model.length + 1);
    const i = over(READ, iov, count);
    let at = 0;
    while (iov_iter_count(i) > 0) {
      const step = 1 + random.below(50);
      iov_iter_advance(i, step);
      at = Math.min(count, at + step);
      assert.is(iov_iter_count(i), count - at);
      if (at === count) break;
      const left = over(
        READ,
        iov
          .slice(i.seg)
          .map(({ iov_base, iov_len }, n) =>
            n === 0
              ? { iov_base: iov_base + i.iov_offset, iov_len: iov_len - i.iov_offset }
              : { iov_base, iov_len },
          ),
        count - at,
      );
      assert.is(iov_iter_alignment(i), iov_iter_alignment(left));
      assert.is(iov_iter_npages(i, 99), iov_iter_npages(left, 99));
      assert.is(iov_iter_has_gap(i, 7), iov_iter_has_gap(left, 7));
      const next = i.iov.slice(i.seg).findIndex(({ iov_len }, n) => iov_len > (n === 0 ? i.iov_offset : 0));
      const piece = i.iov[i.seg + next];
      assert.is((piece?.iov_base ?? 0) + (next === 0 ? i.iov_offset : 0), model[at]);
    }
  }
});
