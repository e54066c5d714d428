// Ctrl-C during a run: noticed between requests, so that what was begun is finished and can be said.

/** The user wants to stop. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

export class Interrupt {
  #pressed = false;
  readonly #atOnce: () => never;
  readonly #listener = (): void => {
    if (this.#pressed) this.#atOnce();
    this.#pressed = true;
  };

  /** `atOnce` ends the process, if the user asks a second time. */
  constructor(atOnce: () => never) {
    this.#atOnce = atOnce;
    process.on('SIGINT', this.#listener);
    process.on('SIGTERM', this.#listener);
  }

  /** Throws Interrupted if the user has asked to stop. */
  check(): void {
    if (this.#pressed) throw new Interrupted();
  }

  end(): void {
    process.off('SIGINT', this.#listener);
    process.off('SIGTERM', this.#listener);
  }
}
