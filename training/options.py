"""The command line of training. Imports neither torch nor what needs it: usage errors come at once."""

from common.arguments import Parser, count, positive_int, under_half


def make_parser() -> Parser:
    parser = Parser(prog="train_classifier", description="Train a classifier on face crops.")
    add = parser.add_argument
    add("--config", required=True, metavar="FILE", help="the recipe, see configs/")
    add("--data-dir", required=True, metavar="DIR", help="the data root with crops, diffs and landmarks")
    add("--folds-csv", default="folds.csv", metavar="FILE", help="the table of crops")
    add("--crops-dir", default="crops", metavar="DIR", help="folder of the crops, below the data root")
    add("--fold", type=count, default=0, metavar="N", help="the fold held out for validation")
    add("--val-videos", metavar="FILE", help="validate on these videos (ids, one a line) instead of a fold")
    add("--train-on-all", action="store_true", help="train on what is held out too; validation then proves nothing")
    add("--output-dir", default="weights/", metavar="DIR", help="where checkpoints go")
    add("--logdir", default="logs", metavar="DIR", help="where metrics.csv and TensorBoard's files go")
    add("--prefix", default="classifier_", metavar="TEXT", help="beginning of the checkpoints' names")
    add("--resume", metavar="FILE", help="go on from this checkpoint; auto: from the run's own, if there is one")
    add("--overwrite", action="store_true", help="begin anew though there are checkpoints of such a run")
    add("--from-zero", action="store_true", help="with --resume: take the weights, begin at epoch 0")
    add("--zero-score", action="store_true", help="with --resume: forget the best bce")
    add("--initial-weights", default="imagenet", metavar="W", help="imagenet, none, a package, or a file")
    add("--seed", type=count, default=777, metavar="N", help="decides weights, order and augmentation")
    add("--workers", type=count, metavar="N", help="processes that prepare crops (default: 6, or all cores if fewer)")
    add("--gpu", default="0", metavar="N", help="number of the GPU, or cpu; without a GPU it is the CPU")
    add("--distributed", action="store_true", help="insist on torchrun, which alone gives a process its rank")
    add("--local_rank", type=count, default=0, metavar="N", help="GPU of this process where LOCAL_RANK is not set")
    add("--freeze-epochs", type=count, default=0, metavar="N", help="epochs in which the encoder is left as it is")
    add("--label-smoothing", type=under_half, default=0.01, metavar="X", help="labels are X and 1 - X")
    add("--padding-part", type=positive_int, default=3, metavar="N", help="above 3: cut the crops tighter")
    add("--opt-level", choices=["O0", "O1", "O2", "O3"], help="O0 fp32, O1 mixed (default: O1 on a GPU, O0 on a CPU)")
    add("--amp-backend", choices=["torch", "apex"], default="torch", help="whose mixed precision; O2 and O3 are apex's")
    add("--amp-dtype", choices=["fp16", "bf16"], help="half format of O1 (default: fp16 on a GPU, bf16 on a CPU)")
    add("--compile", action="store_true", help="torch.compile the network")
    add("--save-every", type=count, default=500, metavar="N", help="iterations between saved states; 0: epochs only")
    add("--test_every", type=positive_int, default=1, metavar="N", help="epochs between validations")
    add("--no-oversample", action="store_true", help="all fakes in every epoch, not as many as there are reals")
    add("--no-hardcore", action="store_true", help="no blackout of landmarks, hulls and areas")
    add("--only-changed-frames", action="store_true", help="leave out fakes that do not visibly differ")
    return parser
