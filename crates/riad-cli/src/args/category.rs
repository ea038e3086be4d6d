//! Where images are in a data set.

use std::iter;

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use riad_data::Layout;

/// Where good images are in DATA.
#[derive(Debug, Args)]
pub(crate) struct CategoryArgs {
    /// Category of DATA, if DATA holds several
    #[arg(long = "category", value_name = "NAME", requires = "data")]
    pub(crate) name: Option<String>,
    /// Layout of DATA. auto finds it by the folders and files in DATA
    #[arg(long, value_name = "NAME", default_value = "auto", value_parser = format_parser())]
    pub(crate) format: DataFormat,
}

/// The layout that was asked for. `None`: the program finds it by the folders and files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DataFormat(pub(crate) Option<Layout>);

pub(super) fn format_parser() -> impl TypedValueParser<Value = DataFormat> {
    let names = iter::once("auto").chain(Layout::ALL.iter().map(|layout| layout.name()));
    PossibleValuesParser::new(names).try_map(|name| match name.as_str() {
        "auto" => Ok(DataFormat(None)),
        name => name.parse().map(|layout| DataFormat(Some(layout))),
    })
}
