import { PAGE_SIZE, type Sleeps, VM_READ } from '../../src/kernel/index.ts';
import {
  EFAULT,
  type Iovec,
  UIO_READ,
  UIO_SYSSPACE,
  UIO_USERISPACE,
  UIO_WRITE,
  Uio,
} from '../../src/solaris/index.ts';
import { assert, suite } from '../run/suite.ts';
import {
  assertBug,
  asUser,
  BASE,
  boot,
  inInterrupt,
  inThread,
  map,
  pattern,
  peek,
  poke,
  RW,
} from './help.ts';
import { kernelPages, seen } from './physio-rig.ts';

const test = suite('solaris uio');

/** A uio over pieces, given as addresses and lengths. */
function over(...pieces: readonly (readonly [base: number, len: number])[]): Uio {
  return new Uio({ iov: pieces.map(([iov_base, iov_len]) => ({ iov_base, iov_len })), loffset: 1000 });
}

/** Everything that a move changes: pieces, then index, count, rest and offset. */
function state({ uio_iov, seg, uio_iovcnt, uio_resid, uio_loffset }: Uio): unknown[] {
  return [
    uio_iov.map(({ iov_base, iov_len }: Iovec) => [iov_base, iov_len]),
    seg,
    uio_iovcnt,
    uio_resid,
    uio_loffset,
  ];
}

test('UIO-01 n or uio_resid bytes move, whichever is less, and that is success', async () => {
  const solaris = await boot();
  asUser(solaris, function* (as) {
    yield* map(as, BASE, 2);
    const bytes = pattern(100);
    const uio = over([BASE + 10, 60]);
    assert.is(yield* solaris.uiomove(bytes, 40, UIO_READ, uio), 0);
    assert.equal(state(uio), [[[BASE + 50, 20]], 0, 1, 20, 1040]);
    assert.is(yield* solaris.uiomove(bytes.subarray(40), 60, UIO_READ, uio), 0); // 20 are left
    assert.equal(state(uio), [[[BASE + 70, 0]], 0, 1, 0, 1060]);
    assert.equal(yield* peek(solaris, as, BASE + 10, 60), bytes.subarray(0, 60));
    assert.equal(yield* peek(solaris, as, BASE + 70, 4), new Uint8Array(4));
    assert.is(yield* solaris.uiomove(bytes, 10, UIO_READ, uio), 0); // none are left
    assert.equal(state(uio), [[[BASE + 70, 0]], 0, 1, 0, 1060]);

    const less = new Uio({ iov: [{ iov_base: BASE + 10, iov_len: 60 }], resid: 7 });
    const into = new Uint8Array(60);
    assert.is(yield* solaris.uiomove(into, 60, UIO_WRITE, less), 0);
    assert.equal(into, Uint8Array.from([...bytes.subarray(0, 7), ...new Uint8Array(53)]));
    assert.equal(state(less), [[[BASE + 17, 53]], 0, 1, 0, 7]);
  });
});

test('UIO-01 no pieces are left before uio_resid is 0: the move ends', async () => {
  const solaris = await boot();
  asUser(solaris, function* (as) {
    yield* map(as, BASE, 1);
    const uio = new Uio({ iov: [{ iov_base: BASE, iov_len: 8 }], resid: 20 });
    assert.is(yield* solaris.uiomove(pattern(20), 20, UIO_READ, uio), 0);
    assert.equal(state(uio), [[[BASE + 8, 0]], 1, 0, 12, 8]);
  });
});

test('UIO-02 UIO-03 pieces in their order, empty ones stepped over when they are reached', async () => {
  const solaris = await boot();
  asUser(solaris, function* (as) {
    yield* map(as, BASE, 3);
    const bytes = pattern(5000);
    const uio = over([BASE + 4000, 300], [BASE, 0], [BASE, 0], [BASE + 5000, 4700], [BASE, 0]);
    assert.is(yield* solaris.uiomove(bytes, 300, UIO_READ, uio), 0);
    // The first piece is used up and still the current one: no byte asked for the next.
    assert.equal([uio.seg, uio.uio_iovcnt, uio.piece], [0, 5, { iov_base: BASE + 4300, iov_len: 0 }]);
    assert.is(yield* solaris.uiomove(bytes.subarray(300), 1, UIO_READ, uio), 0);
    assert.equal([uio.seg, uio.uio_iovcnt, uio.uio_resid, uio.uio_loffset], [3, 2, 4699, 1301]);
    assert.is(yield* solaris.uiomove(bytes.subarray(301), 4699, UIO_READ, uio), 0);
    // The last piece with bytes stays, and so does the empty one behind it.
    assert.equal(state(uio), [
      [
        [BASE + 4300, 0],
        [BASE, 0],
        [BASE, 0],
        [BASE + 9700, 0],
        [BASE, 0],
      ],
      3,
      2,
      0,
      6000,
    ]);
    assert.equal(yield* peek(solaris, as, BASE + 4000, 300), bytes.subarray(0, 300));
    assert.equal(yield* peek(solaris, as, BASE + 5000, 4700), bytes.subarray(300));
  });
});

test('UIO-04 a piece with a fault does not count, not even what was stored of it', async () => {
  const solaris = await boot();
  asUser(solaris, function* (as) {
    yield* map(as, BASE, 2);
    const bytes = pattern(9000);
    const uio = over([BASE, 100], [BASE + PAGE_SIZE, 2 * PAGE_SIZE], [BASE, 50]);
    assert.is(yield* solaris.uiomove(bytes, 9000, UIO_READ, uio), EFAULT);
    assert.equal([uio.seg, uio.uio_iovcnt, uio.uio_resid, uio.uio_loffset], [1, 2, 8242, 1100]);
    assert.equal(uio.piece, { iov_base: BASE + PAGE_SIZE, iov_len: 2 * PAGE_SIZE });
    // The page that is there was written all the same.
    assert.equal(yield* peek(solaris, as, BASE + PAGE_SIZE, PAGE_SIZE), bytes.subarray(100, 100 + PAGE_SIZE));

    yield* poke(solaris, as, BASE, bytes.subarray(0, PAGE_SIZE));
    assert.is(yield* as.mprotect(BASE, PAGE_SIZE, VM_READ), 0);
    const readOnly = over([BASE, 10]);
    assert.is(yield* solaris.uiomove(bytes, 10, UIO_READ, readOnly), EFAULT);
    assert.equal(state(readOnly), [[[BASE, 10]], 0, 1, 10, 1000]);
    const into = new Uint8Array(10);
    assert.is(yield* solaris.uiomove(into, 10, UIO_WRITE, readOnly), 0);
    assert.equal(into, bytes.subarray(0, 10));
  });
});

test('UIO-04 a thread of the kernel has no user memory', async () => {
  const solaris = await boot();
  inThread(solaris, function* () {
    const uio = over([BASE, 10]);
    assert.is(yield* solaris.uiomove(pattern(10), 10, UIO_READ, uio), EFAULT);
    assert.is(uio.uio_resid, 10);
  });
});

test('UIO-05 it may sleep: in an interrupt all of them are bugs', async () => {
  const solaris = await boot();
  const uio = over([BASE, 10]);
  const byte = new Uint8Array(1);
  const calls: (() => Sleeps<unknown>)[] = [
    () => solaris.uiomove(byte, 1, UIO_READ, uio),
    () => solaris.ureadc(1, uio),
    () => solaris.uwritec(uio),
    () => solaris.uio_prefaultpages(1, uio),
    () => solaris.copyin(BASE, byte, 1),
    () => solaris.ddi_copyout(byte, BASE, 1, 0),
    // Also where there is nothing to do.
    () => solaris.uiomove(byte, 0, UIO_READ, uio),
    () => solaris.uio_prefaultpages(0, uio),
    () => solaris.copyin(BASE, byte, 0),
    () => solaris.copyout(byte, BASE, 0),
  ];
  for (const call of calls) {
    assertBug('ctx-sleep', () => inInterrupt(solaris, () => solaris.kernel.scheduler.atomic(call())));
  }
});

test('UIO-03 memory of the kernel, by its address, is one side or both', async () => {
  const solaris = await boot({ placement: 'scatter' });
  asUser(solaris, function* (as) {
    yield* map(as, BASE, 3, RW);
    const bytes = pattern(2 * PAGE_SIZE);
    const { address, cookie } = yield* kernelPages(solaris, 3);
    const copy = yield* kernelPages(solaris, 3);
    solaris.kernel.kas.write(address + 100, bytes);
    const out = over([BASE + 5, 3000], [BASE + 4000, 2 * PAGE_SIZE - 3000]);
    assert.is(yield* solaris.uiomove(address + 100, bytes.length, UIO_READ, out), 0);
    assert.equal(yield* peek(solaris, as, BASE + 5, 3000), bytes.subarray(0, 3000));
    assert.equal(yield* peek(solaris, as, BASE + 4000, 100), bytes.subarray(3000, 3100));

    const system = new Uio({
      iov: [{ iov_base: copy.address + 7, iov_len: bytes.length }],
      segflg: UIO_SYSSPACE,
    });
    assert.is(yield* solaris.uiomove(address + 100, bytes.length, UIO_READ, system), 0);
    assert.equal(seen(solaris, copy.address + 7, bytes.length), bytes);
    assert.equal([system.uio_resid, system.uio_loffset], [0, bytes.length]);

    // And back, through bytes of the caller's own.
    const back = new Uio({ iov: [{ iov_base: copy.address + 7, iov_len: 600 }], segflg: UIO_SYSSPACE });
    const into = new Uint8Array(600);
    assert.is(yield* solaris.uiomove(into, 600, UIO_WRITE, back), 0);
    assert.equal(into, bytes.subarray(0, 600));
    const user = over([BASE + 5, 600]);
    user.uio_segflg = UIO_USERISPACE;
    assert.is(yield* solaris.uiomove(address, 600, UIO_WRITE, user), 0);
    assert.equal(seen(solaris, address, 600), bytes.subarray(0, 600));
    solaris.ddi_umem_free(cookie);
    solaris.ddi_umem_free(copy.cookie);
  });
});

test('UIO-04 an address of the kernel with nothing behind it is a fault in the uio, a bug in the driver', async () => {
  const solaris = await boot();
  inThread(solaris, function* () {
    const { address, cookie } = yield* kernelPages(solaris, 1);
    for (const p of [pattern(100), address]) {
      for (const rw of [UIO_READ, UIO_WRITE]) {
        const uio = new Uio({ iov: [{ iov_base: address + 4090, iov_len: 100 }], segflg: UIO_SYSSPACE });
        assert.is(yield* solaris.uiomove(p, 100, rw, uio), EFAULT);
        assert.equal([uio.uio_resid, uio.uio_loffset], [100, 0]);
      }
    }
    solaris.ddi_umem_free(cookie);
  });
  const gone = inThread(solaris, () => kernelPages(solaris, 1)).address + 4090;
  for (const p of [gone, pattern(7)]) {
    assertBug('kernel-buffer', () =>
      inThread(solaris, () => solaris.uiomove(p, 8, UIO_READ, over([BASE, 8]))),
    );
  }
});

test('UIO-02 UIO-03 ureadc and uwritec move one byte, and step over empty pieces', async () => {
  const solaris = await boot();
  asUser(solaris, function* (as) {
    yield* map(as, BASE, 1);
    const uio = over([BASE, 0], [BASE + 3, 1], [BASE + 9, 1]);
    assert.is(yield* solaris.ureadc(0x141, uio), 0);
    assert.is(yield* solaris.ureadc(0x42, uio), 0);
    assert.equal(
      [uio.seg, uio.uio_iovcnt, uio.uio_resid, uio.uio_loffset, uio.piece?.iov_len],
      [2, 1, 0, 1002, 0],
    );
    assert.equal(yield* peek(solaris, as, BASE + 3, 7), Uint8Array.of(0x41, 0, 0, 0, 0, 0, 0x42));
    const back = over([BASE + 3, 1], [BASE, 0], [BASE + 9, 1]);
    assert.equal(
      [yield* solaris.uwritec(back), yield* solaris.uwritec(back), yield* solaris.uwritec(back)],
      [0x41, 0x42, -1],
    );
    assert.equal([back.uio_resid, back.uio_loffset], [0, 1002]);

    const nowhere = over([BASE + PAGE_SIZE, 4]);
    assert.is(yield* solaris.ureadc(1, nowhere), EFAULT);
    assert.is(yield* solaris.uwritec(nowhere), -1);
    assert.equal(state(nowhere), [[[BASE + PAGE_SIZE, 4]], 0, 1, 4, 1000]);
  });
  assertBug('uio-full', () => inThread(solaris, () => solaris.ureadc(1, over([BASE, 0]))));
});

test('UIO-05 uio_prefaultpages brings in what it can and leaves the uio alone', async () => {
  const solaris = await boot();
  asUser(solaris, function* (as) {
    yield* map(as, BASE, 6);
    const there = () => Array.from({ length: 6 }, (_, i) => as.pageTable.page(BASE + i * PAGE_SIZE) !== null);
    const uio = over([BASE + 4095, 2], [BASE, 0], [BASE + 3 * PAGE_SIZE, 2 * PAGE_SIZE]);
    const before = state(uio);
    yield* solaris.uio_prefaultpages(1, uio);
    assert.equal(there(), [true, false, false, false, false, false]);
    yield* solaris.uio_prefaultpages(3, uio);
    assert.equal(there(), [true, true, false, true, false, false]);
    yield* solaris.uio_prefaultpages(2 ** 30, uio);
    assert.equal(there(), [true, true, false, true, true, false]);
    assert.equal(state(uio), before);
    const hole = over([BASE + 8 * PAGE_SIZE, 1], [BASE + 5 * PAGE_SIZE, 1]);
    yield* solaris.uio_prefaultpages(2, hole);
    assert.is(there()[5], false); // it ended at the hole
    const system = new Uio({ iov: [{ iov_base: BASE + 5 * PAGE_SIZE, iov_len: 1 }], segflg: UIO_SYSSPACE });
    yield* solaris.uio_prefaultpages(1, system);
    assert.is(there()[5], false);
  });
});
