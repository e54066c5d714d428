// `backplane compare` as a user runs it.

import { CONTROLLERS } from '../../src/controllers/index.ts';
import { assert, suite } from '../run/suite.ts';
import { backplane } from './command.ts';

const test = suite('cli compare');

test('a row a controller, Linux beside Solaris, and a verdict', () => {
  const { status, stdout, stderr } = backplane(['compare', '--operations', '40']);
  assert.equal([status, stderr], [0, '']);
  const lines = stdout.split('\n');
  assert.is(lines[0], 'one workload of 40 operations through linux and solaris, seed 1');
  assert.match(lines[2] ?? '', /^ +copies +copied +segments +commands$/);
  assert.match(lines[3] ?? '', /^( +linux +solaris){4}$/);
  for (const [i, { profiles }] of CONTROLLERS.entries()) {
    const row = lines[4 + i] ?? '';
    assert.ok(row.startsWith(`${profiles[0]?.name} `), row);
    assert.match(row, /^\S+( +[\d,.]+( bytes| [KM]iB)?){8}$/);
  }
  assert.match(stdout, /ok: every read, every result and the disks at the end agree/);
});

test('the same seed gives the same output, another seed another workload', () => {
  const run = (seed: string): string =>
    backplane(['compare', 'nvme', '--operations', '60', '--seed', seed]).stdout;
  assert.is(run('7'), run('7'));
  assert.is.not(run('7'), run('8'));
});

test('--json is one object', () => {
  const { status, stdout } = backplane([
    'compare',
    'virtio-blk',
    'ahci-1slot',
    '--operations',
    '30',
    '--json',
  ]);
  assert.is(status, 0);
  const { ok, reports } = JSON.parse(stdout);
  assert.is(ok, true);
  assert.equal(
    reports.map((report: { profile: string; replay: null }) => [report.profile, report.replay]),
    [
      ['virtio-blk', null],
      ['ahci-1slot', null],
    ],
  );
  assert.equal(
    reports[0].kernels.map(({ kernel }: { kernel: string }) => kernel),
    ['linux', 'solaris'],
  );
});

test('a difference is status 1, with the line that shows it again, and that line does', () => {
  const { status, stdout } = backplane(['compare', 'nvme-26lines', '--operations', '500', '--seed', '9']);
  assert.is(status, 1);
  assert.match(stdout, /nvme-26lines, linux: the guard reported map-mask: nvme\.0/);
  assert.match(stdout, /not ok: the kernels differ on nvme-26lines/);
  const line = /to see it again: npx backplane (.*)/.exec(stdout)?.[1] ?? '';
  assert.is(line, 'compare nvme-26lines --seed 9 --operations 1');
  const again = backplane([...line.split(' '), '--json']);
  assert.is(again.status, 1);
  const [report] = JSON.parse(again.stdout).reports;
  assert.equal([report.ok, report.smallest], [false, 1]);
  assert.is(`npx backplane ${line}`, report.replay);
});

test('what is no controller or no number is refused with one line', () => {
  for (const [args, expected] of [
    [['nmve'], /no controller is called "nmve" \(did you mean "nvme"\?\)/],
    [['ahci', '--operations', '0'], /--operations "0" must be a whole number from 1 to 1000000/],
    [['--operations', 'many'], /--operations "many" must be/],
    [['--seed', '-1'], /--seed "-1" must be a whole number from 0/],
  ] as const) {
    const { status, stdout, stderr } = backplane(['compare', ...args]);
    assert.match(stderr, expected);
    assert.equal([status, stdout, stderr.trimEnd().split('\n').length], [2, '', 1]);
  }
});

test('its help begins with examples', () => {
  const { status, stdout } = backplane(['compare', '--help']);
  assert.is(status, 0);
  assert.match(stdout, /^Examples:\n {2}backplane compare /);
});
