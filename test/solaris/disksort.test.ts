import { Random } from '../../src/kernel/index.ts';
import { type Buf, Diskhd, type SolarisApi } from '../../src/solaris/index.ts';
import { assert, suite } from '../run/suite.ts';
import { aBuf, boot } from './help.ts';

const test = suite('solaris disksort');

/** Bufs with these keys, queued in this order. */
function queue(solaris: SolarisApi, ...keys: readonly number[]): { dp: Diskhd; bufs: Buf[] } {
  const dp = new Diskhd();
  const bufs = keys.map((key) => {
    const bp = aBuf(solaris);
    bp.b_resid = key;
    bp.av_forw = bp; // rubbish
    solaris.disksort(dp, bp);
    return bp;
  });
  return { dp, bufs };
}

/** The queue, and its tail, which must be the last one. */
function list({ av_forw, av_back }: Diskhd): Buf[] {
  const bufs: Buf[] = [];
  for (let bp = av_forw; bp !== null; bp = bp.av_forw) bufs.push(bp);
  assert.is(bufs.at(-1) ?? null, av_back);
  return bufs;
}

const keys = (dp: Diskhd): number[] => list(dp).map(({ b_resid }) => b_resid);

test('SORT-01 the first buf is head and tail', async () => {
  const solaris = await boot();
  const { dp, bufs } = queue(solaris, 5);
  assert.is(dp.av_forw, bufs[0]);
  assert.is(dp.av_back, bufs[0]);
  assert.is(bufs[0]?.av_forw, null);
});

test('SORT-02 the head stays, whatever comes', async () => {
  const solaris = await boot();
  const { dp, bufs } = queue(solaris, 50, 10, 50, 0, 60);
  assert.is(dp.av_forw, bufs[0]);
  assert.equal(keys(dp), [50, 50, 60, 0, 10]);
});

test('SORT-03 from the head on in ascending order, behind equals, before the descent', async () => {
  const solaris = await boot();
  const { dp, bufs } = queue(solaris, 10, 30, 20, 5, 30, 40, 10);
  assert.equal(keys(dp), [10, 10, 20, 30, 30, 40, 5]);
  const order = list(dp).map((bp) => bufs.indexOf(bp));
  assert.equal(order, [0, 6, 2, 1, 4, 5, 3]);
});

test('SORT-04 below the head it is for the second run', async () => {
  const solaris = await boot();
  const { dp, bufs } = queue(solaris, 50, 60, 40, 20, 30, 20, 49);
  assert.equal(keys(dp), [50, 60, 20, 20, 30, 40, 49]);
  const order = list(dp).map((bp) => bufs.indexOf(bp));
  assert.equal(order, [0, 1, 3, 5, 4, 2, 6]);
  assert.equal(keys(queue(solaris, 50, 49).dp), [50, 49]); // begins it
});

test('SORT-05 the example of the specification', async () => {
  const solaris = await boot();
  assert.equal(keys(queue(solaris, 50, 70, 60, 20, 90, 10, 50).dp), [50, 50, 60, 70, 90, 10, 20]);
});

test('SORT-06 keys are unsigned, and the tail moves only when something comes behind it', async () => {
  const solaris = await boot();
  const { dp } = queue(solaris, 50, -1, 60);
  assert.equal(keys(dp), [50, 60, -1]);
  const tail = dp.av_back;
  const bp = aBuf(solaris);
  bp.b_resid = 55;
  solaris.disksort(dp, bp);
  assert.is(dp.av_back, tail);
  const last = aBuf(solaris);
  last.b_resid = 3;
  solaris.disksort(dp, last);
  assert.is(dp.av_back, last);
});

test('SORT-03 SORT-04 any sequence gives two ascending runs, equals in the order in which they came', async () => {
  const solaris = await boot();
  const random = new Random(5);
  for (let round = 0; round < 50; round++) {
    const wanted = Array.from({ length: 1 + random.below(20) }, () => random.below(10));
    const { dp, bufs } = queue(solaris, ...wanted);
    const [head = 0] = wanted;
    const rank = (bp: Buf) => (bp.b_resid >= head ? 0 : 1000) + bp.b_resid;
    const sorted = bufs.map((bp, i) => ({ bp, i })).sort((a, b) => rank(a.bp) - rank(b.bp) || a.i - b.i);
    assert.equal(
      list(dp).map((bp) => bufs.indexOf(bp)),
      sorted.map(({ i }) => i),
    );
  }
});
