import { Ready, type Sleeps } from '../../src/kernel/index.ts';
import { assert, suite } from '../run/suite.ts';
import { assertBug, makeKernel } from './help.ts';

const test = suite('kernel ready');

test('yield* takes the value without a generator, and one object serves all calls', async () => {
  const { scheduler } = await makeKernel();
  const ready = new Ready();
  const twice = (value: number): Sleeps<number> => ready.with(2 * value, 'twice');
  const sum = scheduler.complete('sum', function* () {
    let total = 0;
    for (let i = 0; i < 10; i++) total += yield* twice(i);
    return total;
  });
  assert.is(sum, 90);
});

test('a call whose yield* was forgotten shows at the next one, and is named', () => {
  const ready = new Ready();
  const forgotten = ready.with(1, 'guilty');
  assert.ok(forgotten !== null);
  assert.is(assertBug('sleep-forgotten', () => ready.with(2, 'innocent')).where, 'guilty');
  assert.equal(ready.with(3, 'innocent').next(), { done: true, value: 3 });
});
